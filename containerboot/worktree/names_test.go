package worktree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oddNames are names that files may have.
var oddNames = []string{
	"with spaces/and more .md", "quotes \"double\" and 'single'.md", "line\nend.md", "tab\tand\\backslash.md", "carriage\rreturn.md",
	"überschrift/日本語.md", "cafe\u0301.md", "caf\u00e9.md", "not-utf8-\xff\xfe.md", "-option", "--all", ":(exclude)x", "*", "?[a-z]", "$(touch ran)`touch ran`",
	"#comment", "!negated", " leading and trailing ", "a\x01b\x7fc", "~", "trailing.dot.", "=", "@{-1}", "HEAD", "refs/heads/main",
	strings.Repeat("long", 60),
}

func TestOddNamesAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		dir := filepath.Join(filepath.Dir(s.remote), "seed")
		for _, name := range oddNames {
			write(t, dir, "odd/"+name, "first odd/"+name)
		}
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-qm", "odd names")
		git(t, dir, "push", "-q", s.remote, "main")
		w := s.prepared()
		for i, name := range oddNames {
			name = "odd/" + name
			require.Equal(t, "first "+name, s.read(name))
			switch i % 3 {
			case 0:
				s.write(name, "edited "+name)
			case 1:
				require.NoError(t, os.Remove(filepath.Join(s.cfg.Dir, name)))
			}
			s.write("new/"+oddNames[i], "new "+name)
		}
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)

		s.elsewhere()
		w = s.prepared()
		for i, name := range oddNames {
			name = "odd/" + name
			switch i % 3 {
			case 0:
				assert.Equal(t, "edited "+name, s.read(name))
			case 1:
				assert.NoFileExists(t, filepath.Join(s.cfg.Dir, name))
			default:
				assert.Equal(t, "first "+name, s.read(name))
			}
			assert.Equal(t, "new "+name, s.read("new/"+oddNames[i]))
		}
		assert.Empty(t, git(t, s.cfg.Dir, "status", "--porcelain"))

		// Somebody else changes some, and the workspace follows beside work of its own.
		s.write("new/"+oddNames[0], "ours")
		theirs := t.TempDir()
		git(t, "/", "clone", "-q", "-b", editBranch, s.remote, theirs)
		for _, name := range oddNames[1:] {
			write(t, theirs, "new/"+name, "theirs "+name)
		}
		git(t, theirs, "commit", "-qam", "theirs")
		git(t, theirs, "push", "-q", "origin", editBranch)
		changed, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		require.True(t, changed)
		for _, name := range oddNames[1:] {
			assert.Equal(t, "theirs "+name, s.read("new/"+name))
		}
		assert.Equal(t, "ours", s.read("new/"+oddNames[0]))
		res, err = w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)
		assert.Equal(t, "ours", s.remoteFile(editBranch, "new/"+oddNames[0]))
	})
}
