// Command containerboot is the process that runs in every session container: see
// the manual, `containerboot --help`.
package main

import (
	"os"

	"github.com/webordinary/router/containerboot"
)

func main() {
	os.Exit(containerboot.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
