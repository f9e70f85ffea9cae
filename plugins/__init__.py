"""What the clinic does: one workflow per file or folder."""
