//go:build !linux

package containerboot

import "io"

// beInit: containers are Linux.
func beInit(_, _ []string, _ io.Writer) (code int, isInit bool) { return 0, false }
