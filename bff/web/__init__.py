"""The pages of the contract: one file each."""
