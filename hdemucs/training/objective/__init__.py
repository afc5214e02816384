"""What training minimises: losses, penalties, and the objective that adds them up."""
