package site

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// memoryBudget bounds what a build keeps in memory: rewritten and small files.
	memoryBudget = 32 << 20
	// maxRewritten is the largest file that is rewritten. A larger one is served as
	// built, and the edge redirects what it links.
	maxRewritten = 8 << 20
	// maxHashed is the largest file whose content makes its ETag. Hashing a video
	// would hold up its first request for seconds.
	maxHashed = 4 << 20
	// maxSmall is the largest file that is kept in memory as it is.
	maxSmall = 64 << 10
	// entryCost is what a known file costs beside its name and body, roughly.
	entryCost = 512
)

// build is one output being served. Its files are taken not to change.
type build struct {
	root     *os.Root     // nil without files
	refs     atomic.Int64 // requests under way, and one while it is the present build
	id       string       // tells this build's large files from another's
	assets   []string
	rewrite  *rewriter
	base     string   // where the site expects to be, "" for the root: see survey
	live     []byte   // what documents get at the end of their head
	program  *Program // nil: static
	released func()   // may be nil

	mu    sync.RWMutex
	files map[string]*file
	bytes int
}

// file is what is known of one file. Its fields are only read once ready is closed.
type file struct {
	ready chan struct{}
	err   error

	name string
	size int64
	// body is nil where the file is read from disk.
	body []byte
	// siblings are the content codings for which a precompressed file lies beside
	// this one, best first.
	siblings []coding

	// Header values, in the form in which they go into a header map.
	etag, contentType, cacheControl []string
}

// open opens the folder, if there is one, and makes sure that it can be read.
func (b *build) open(folder string) error {
	b.files = make(map[string]*file)
	b.refs.Store(1)
	if folder == "" && b.program != nil {
		return nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	dir, err := root.Open(".")
	if err == nil {
		_, err = dir.Readdirnames(1)
		dir.Close()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		root.Close()
		return err
	}
	b.root = root
	if b.survey(); b.base != "" {
		b.rewrite = b.rewrite.below(b.base)
	}
	return nil
}

func (b *build) release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	if b.root != nil {
		b.root.Close()
	}
	if b.released != nil {
		b.released()
	}
}

// openFile opens a regular file below the root. Links out of the root are errors.
func (b *build) openFile(name string) (*os.File, error) {
	// Opening a pipe would wait for its writer without O_NONBLOCK.
	f, err := b.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lookup returns what is known of a file, after reading it on its first use. Names
// that don't exist leave no trace.
func (b *build) lookup(name string) (*file, error) {
	b.mu.RLock()
	f := b.files[name]
	b.mu.RUnlock()
	if f == nil {
		disk, err := b.openFile(name)
		if err != nil {
			return nil, err
		}
		defer disk.Close()
		var mine bool
		if f, mine = b.reserve(name); mine {
			b.load(f, disk)
		}
	}
	<-f.ready
	return f, f.err
}

// reserve returns the entry of a file, and whether the caller must load it.
func (b *build) reserve(name string) (f *file, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f = b.files[name]; f != nil {
		return f, false
	}
	f = &file{name: name, ready: make(chan struct{}), err: errUnread}
	b.files[name] = f
	return f, true
}

// load reads a file and completes its entry.
func (b *build) load(f *file, disk *os.File) {
	defer close(f.ready)
	defer b.account(f)
	f.err = b.read(f, disk)
}

func (b *build) read(f *file, disk *os.File) error {
	info, err := disk.Stat()
	if err != nil {
		return err
	}
	f.size = info.Size()
	f.contentType = []string{contentType(f.name)}
	f.cacheControl = cacheControl(f.name, b.assets)
	// Tells apart what has a name and size in common but comes from another build,
	// and does so by itself where the content is too long to be hashed: folders are
	// copied between sessions with their times, so a time tells nothing.
	f.etag = []string{`"` + b.id + "-" + strconv.FormatInt(f.size, 16) + `"`}

	rewrite := b.rewrite.forType(f.name, b.live)
	if f.size <= maxHashed || rewrite != nil && f.size <= maxRewritten {
		body, err := io.ReadAll(io.LimitReader(disk, maxRewritten+1))
		if err != nil {
			return fmt.Errorf("reading %q: %w", f.name, err)
		}
		f.size = int64(len(body))
		changed := false
		if rewrite != nil {
			body, changed = rewrite(body)
		}
		f.etag = []string{etagOf(body)}
		if changed || len(body) <= maxSmall {
			f.body, f.size = body, int64(len(body))
		}
		if changed {
			return nil
		}
	}
	for _, c := range codings() {
		if info, err := b.root.Stat(f.name + c.suffix); err == nil && info.Mode().IsRegular() {
			f.siblings = append(f.siblings, c)
		}
	}
	return nil
}

// etagOf is the tag of a content.
func etagOf(body []byte) string {
	hash := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(hash[:16]) + `"`
}

// account counts a loaded file against the budget, or drops one that failed.
func (b *build) account(f *file) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.err != nil {
		delete(b.files, f.name)
		return
	}
	b.bytes += f.cost()
	// Any victim will do: the order of a map is random, and a page that is looked
	// at often is soon back.
	for name, victim := range b.files {
		if b.bytes <= memoryBudget {
			break
		}
		if victim == f || !victim.isReady() {
			continue
		}
		b.bytes -= victim.cost()
		delete(b.files, name)
	}
}

func (f *file) cost() int { return entryCost + len(f.name) + len(f.body) }

func (f *file) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// missing reports whether err means that there is nothing to be served: no such
// file, an impossible name, a way out of the folder. Anything else is a fault of the
// machine.
func missing(err error) bool {
	for _, fault := range []error{syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, errUnread} {
		if errors.Is(err, fault) {
			return false
		}
	}
	return true
}

// errUnread stands in an entry until its file has been read.
var errUnread = errors.New("file was not read")
