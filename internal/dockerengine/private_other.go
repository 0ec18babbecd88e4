//go:build !linux

package dockerengine

import (
	"context"
	"errors"
)

var errLinux = errors.New("that takes Linux")

func possible(context.Context, string) error { return errLinux }

func runInside(string, string) (int, error) { return 0, errLinux }

func startInside(context.Context, string) (string, error) { return "", errLinux }
