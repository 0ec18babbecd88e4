package containerboot

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/progress"
)

// timesFile, in the client's folder of the cache, says how long earlier starts took.
const timesFile = "times.json"

// times is where the times of earlier starts are, and of what site they must be.
func (x *session) times() (path, site string) {
	s := x.claim.Site
	sum := sha256.Sum256([]byte(strings.Join([]string{s.RepositoryURL, s.Directory, s.Mode, s.Install, s.Command}, "\x00")))
	return filepath.Join(x.cache, x.claim.ClientID, timesFile), hex.EncodeToString(sum[:8])
}

// expect has the status say how long the start is expected to take.
func (x *session) expect() {
	x.board.Expect(progress.ReadRuns(x.times()))
	// The worktree says only afterwards whether it cloned.
	if _, err := os.Stat(x.gitDir); os.IsNotExist(err) {
		x.board.Afresh("clone")
	}
}

// keepTimes keeps how long the start took, for the next ones.
func (x *session) keepTimes() {
	path, site := x.times()
	if err := progress.AddRun(path, site, x.board.Run()); err != nil {
		x.log.Warn("keeping the times of the start failed", zap.Error(err))
	}
}
