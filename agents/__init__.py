"""Who decides: learned policies, their frozen form for boards, rivals, and their evaluation."""
