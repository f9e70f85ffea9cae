"""What must hold when processes are killed: senders and receivers with ledgers outside the hub, and a checker."""
