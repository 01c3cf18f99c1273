"""What the controller knows, as frozen values: the words of the glossary. No database, no wire; both convert to and from these."""
