package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
)

// noteName is a file in a session's volume: why its container was stopped. Labels
// cannot be changed, and the engine itself keeps no reasons.
const noteName = "stopped.json"

// maxNote bounds what is read of one, in bytes: the folder is the container's.
const maxNote = 4 << 10

type note struct {
	Container string `json:"container"`
	Reason    string `json:"reason"`
}

// writeNote leaves the reason of a stop for any edge that describes the container.
func (r *Runner) writeNote(ctx context.Context, id, reason string) error {
	text, err := json.Marshal(note{Container: id, Reason: reason})
	if err != nil {
		return err
	}
	return r.put(ctx, id, sessionPath, &tar.Header{
		Typeflag: tar.TypeReg, Name: noteName, Mode: 0o644, Size: int64(len(text)), ModTime: time.Now(),
	}, text)
}

// note returns why a container was stopped; "" if it was not, or it cannot be told.
func (r *Runner) note(ctx context.Context, id string) string {
	var n note
	err := r.do(ctx, func(ctx context.Context) error {
		content, _, err := r.cli.CopyFromContainer(ctx, id, sessionPath+"/"+noteName)
		if err != nil {
			return err
		}
		defer content.Close()
		archive := tar.NewReader(content)
		if _, err := archive.Next(); err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(archive, maxNote))
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &n)
	})
	if err != nil || n.Container != id {
		return "" // none was written
	}
	return n.Reason
}

// put writes one entry into a folder of a container, whether it runs or not.
func (r *Runner) put(ctx context.Context, id, folder string, entry *tar.Header, text []byte) error {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	err := archive.WriteHeader(entry)
	if err == nil {
		_, err = archive.Write(text)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context) error {
		return r.cli.CopyToContainer(ctx, id, folder, &content, container.CopyToContainerOptions{})
	})
}
