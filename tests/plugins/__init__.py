"""What the clinic does: patients and visits, eligibility, worklist, through real hubs."""
