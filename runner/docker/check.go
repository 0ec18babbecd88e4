package docker

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/system"
	"go.uber.org/zap"
)

// Check asks the engine whether containers can be started: that it answers, that it is
// one for Linux containers and has the image. The error says what is to be done.
func (r *Runner) Check(ctx context.Context) error {
	var info system.Info
	err := r.do(ctx, func(ctx context.Context) (err error) {
		info, err = r.cli.Info(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if info.OSType != "linux" {
		return fmt.Errorf("the Docker Engine at %s runs %s containers: session containers are for Linux", r.host, info.OSType)
	}
	for missing, there := range map[string]bool{
		"memory": info.MemoryLimit, "CPU time": info.CPUCfsQuota, "processes": info.PidsLimit,
	} {
		if !there {
			r.log.Warn("the Docker Engine's machine cannot limit what containers use", zap.String("resource", missing))
		}
	}
	return r.findImage(ctx, r.tunables.Load().Image)
}

// findImage returns an error if an image is not on the engine.
func (r *Runner) findImage(ctx context.Context, image string) error {
	return r.do(ctx, func(ctx context.Context) error {
		_, err := r.cli.ImageInspect(ctx, image)
		return err
	})
}
