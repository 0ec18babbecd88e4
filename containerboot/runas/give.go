package runas

import (
	"os"
	"path/filepath"
)

// Give makes all of a folder the user's. What is in a folder is given before it is: from
// then on the client's code may put links there, which must not be followed. The folder
// above must not be the user's.
func (u *User) Give(dir string) error {
	if u == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = u.Give(path)
		} else {
			err = os.Lchown(path, u.uid, u.gid)
		}
		if err != nil {
			return err
		}
	}
	return os.Lchown(dir, u.uid, u.gid)
}
