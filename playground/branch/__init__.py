"""Answers under way: what a policy says comes next, drafts and branches that grow, and the lane they belong to."""
