"""Points that go: which ones a policy does not keep, and how one is deleted. Called by the operator's services and by the finisher."""
