package containerboot

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/webordinary/router/containerboot/bootapi"
)

// inheritance are the open files that the parent handed down; each may be nil. The lock
// is not among them: it stays a bare descriptor, which the kernel closes, and nobody
// before, so that it is held until the process is gone.
type inheritance struct {
	listener *os.File
	parent   *os.File // a pipe: at its end the parent is gone
}

// inherit takes the inherited files, so that no child of this process gets them.
func inherit(s *settings) (*inheritance, error) {
	var files inheritance
	for _, f := range []struct {
		name string
		fd   int
		file **os.File
	}{
		{bootapi.EnvListenFD, s.listenFD, &files.listener},
		{bootapi.EnvParentFD, s.parentFD, &files.parent},
		{bootapi.EnvLockFD, s.lockFD, nil},
	} {
		if f.fd < 0 {
			continue
		}
		var stat syscall.Stat_t
		if err := syscall.Fstat(f.fd, &stat); err != nil {
			files.close()
			return nil, fmt.Errorf("%s: %d is no open file", f.name, f.fd)
		}
		syscall.CloseOnExec(f.fd)
		if f.file != nil {
			*f.file = os.NewFile(uintptr(f.fd), f.name)
		}
	}
	return &files, nil
}

// close lets go of what is not needed by then. The parent's pipe is left to its
// reader, which may be reading still.
func (i *inheritance) close() {
	if i.listener != nil {
		i.listener.Close()
	}
}

// listen returns the inherited socket, or opens one.
func listen(ctx context.Context, s *settings, files *inheritance) (net.Listener, error) {
	if files.listener == nil {
		return new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	}
	l, err := net.FileListener(files.listener) // a copy
	if err != nil {
		return nil, fmt.Errorf("using the inherited socket: %w", err)
	}
	return l, nil
}
