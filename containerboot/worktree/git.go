package worktree

func (w *Worktree) baseEnv() []string { return nil }
