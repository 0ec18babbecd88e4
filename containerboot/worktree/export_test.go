package worktree

// SplitCredential is for tests.
var SplitCredential = splitCredential
