package dockerengine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// repository is the name of the images that tools/testimage.sh makes.
const repository = "webordinary-session-test"

// Image returns the name of an image of a session container that is on the engine.
func (e *Engine) Image(t testing.TB) string {
	t.Helper()
	name, err := loaded(e)
	if err == nil {
		return name
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs an image on the Docker Engine: %v", err)
	}
	t.Skipf("this test needs an image on the Docker Engine: %v", err) //nolint:forbidigo // in CI it fails
	return ""
}

var (
	loading    sync.Mutex
	loadedName string
	errLoading error
)

// loaded loads the image once.
func loaded(e *Engine) (string, error) {
	loading.Lock()
	defer loading.Unlock()
	if loadedName == "" && errLoading == nil {
		loadedName, errLoading = e.load(context.Background())
	}
	return loadedName, errLoading
}

// makeImage makes the image's folder, which takes a network the first time.
func makeImage(ctx context.Context, root string) (string, error) {
	folder, err := script(ctx, root, "testimage.sh")
	if err != nil {
		return "", fmt.Errorf("making an image (%s names one that is there): %w", ownImageEnv, err)
	}
	return folder, nil
}

func (e *Engine) load(ctx context.Context) (string, error) {
	if name := os.Getenv(ownImageEnv); name != "" {
		return name, nil
	}
	folder := os.Getenv(imageEnv)
	if folder == "" {
		root, err := moduleRoot(ctx)
		if err != nil {
			return "", err
		}
		if folder, err = makeImage(ctx, root); err != nil {
			return "", err
		}
	}
	cli, err := e.connect()
	if err != nil {
		return "", err
	}
	defer cli.Close()
	name := repository + ":" + filepath.Base(folder)
	_, err = cli.ImageInspect(ctx, name)
	if !cerrdefs.IsNotFound(err) {
		return name, err
	}
	if err := load(ctx, cli, folder); err != nil {
		return "", fmt.Errorf("loading %s: %w", folder, err)
	}
	return name, removeOthers(ctx, cli, name)
}

func load(ctx context.Context, cli *client.Client, folder string) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		archive := tar.NewWriter(w)
		err := archive.AddFS(os.DirFS(folder))
		if err == nil {
			err = archive.Close()
		}
		packed <- err
		w.CloseWithError(err)
	}()
	resp, err := cli.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // the engine may have left the rest
	if err := <-packed; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for answers := json.NewDecoder(resp.Body); ; {
		var line struct{ Error string }
		switch err := answers.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		}
	}
}

// removeOthers removes the images of other builds.
func removeOthers(ctx context.Context, cli *client.Client, name string) error {
	images, err := cli.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	if err != nil {
		return err
	}
	for _, i := range images {
		for _, tag := range i.RepoTags {
			if tag != name && strings.HasPrefix(tag, repository+":") {
				_, _ = cli.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true}) // it may be in use
			}
		}
	}
	return nil
}
