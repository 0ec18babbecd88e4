package bootapi

import "slices"

// safe are the exit statuses of containerboot after which a session's work is not in
// its workspace alone: it was saved, or there was none, or it was not touched. Its
// manual has what each means.
var safe = []int{0, 2, 3, 5, 6, 11, 12, 13, 14}

// WorkIsSafe reports whether a container that ended with an exit status has left no
// work that is in its workspace alone. It says nothing of what an earlier container
// may have left there.
func WorkIsSafe(status int) bool { return slices.Contains(safe, status) }
