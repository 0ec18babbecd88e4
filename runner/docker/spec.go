package docker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

const (
	// sessionPath is where a session's volume is. The workspace is a folder in it, for
	// containerboot keeps its own beside that.
	sessionPath = "/session"
	cachePath   = "/cache"
	tmpPath     = "/tmp"
	// sharedPath is where programs share memory, and sharedBytes how much: what the
	// engine gives by default.
	sharedPath  = "/dev/shm"
	sharedBytes = 64 * mebibyte
	port        = 8080
	natPort     = nat.Port("8080/tcp")

	// cpuPeriod is the time within which a container's share of the processors is
	// counted, in microseconds.
	cpuPeriod = 100_000
	// oomScore has the machine, when it is short of memory, end containers before edges.
	oomScore = 500

	// bytesPerFile is how many bytes of a file system in memory stand for one file in it:
	// an empty one takes a kilobyte of the container's memory.
	bytesPerFile = 8192
)

// sysctls bound what the kernel would keep of programs that have ended: that too is
// memory of the container's, and no program could be ended to get it back.
var sysctls = map[string]string{
	"kernel.shm_rmid_forced": "1",
	"kernel.msgmni":          "64",
	"kernel.sem":             "250 8000 32 32",
}

// tmpfs are the options of a file system in memory for everybody.
func tmpfs(exec string, bytes int64) string {
	return fmt.Sprintf("rw,%s,nosuid,nodev,mode=1777,size=%d,nr_inodes=%d", exec, bytes, bytes/bytesPerFile)
}

// spec is all that makes a container.
type spec struct {
	config  *container.Config
	host    *container.HostConfig
	network *network.NetworkingConfig
}

// spec describes the container of a start, on a client's network. unsaved: its
// workspace may hold unsaved work.
func (r *Runner) spec(t *Tunables, size Size, req sessions.StartRequest, networkID string, unsaved bool) spec {
	grace := int(r.grace.Seconds())
	s := spec{
		config: &container.Config{
			Image: t.Image,
			User:  t.User,
			Env:   env(t, req),
			Labels: map[string]string{
				labelDeployment: r.deployment,
				labelClient:     req.ClientID,
				labelSession:    req.SessionID,
				labelEpoch:      strconv.FormatInt(req.Epoch, 10),
				labelSize:       req.Size,
				labelUnsaved:    strconv.FormatBool(unsaved),
			},
			StopSignal:  "SIGTERM",
			StopTimeout: &grace,
		},
		host: &container.HostConfig{
			NetworkMode:    container.NetworkMode(networkID),
			RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
			CapDrop:        []string{"ALL"},
			CapAdd:         []string{"CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"},
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: true,
			Tmpfs: map[string]string{
				tmpPath:    tmpfs("exec", size.Memory/2),
				sharedPath: tmpfs("noexec", sharedBytes),
			},
			Sysctls: sysctls,
			Mounts: append([]mount.Mount{
				r.sessionVolume(req.SessionID, req.ClientID),
				r.cacheVolume(req.ClientID),
			}, binds(t.Volumes)...),
			LogConfig:   container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "5m", "max-file": "2"}},
			OomScoreAdj: oomScore,
			Resources: container.Resources{
				Memory: size.Memory,
				// As much as Memory: no swap.
				MemorySwap: size.Memory,
				// Not as a number of CPUs, of which the engine takes no more than it has.
				CPUPeriod: cpuPeriod,
				CPUQuota:  int64(size.CPUs * cpuPeriod),
				PidsLimit: &size.Processes,
			},
		},
		network: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{networkID: {}}},
	}
	if t.Publish != "" {
		s.config.ExposedPorts = nat.PortSet{natPort: {}}
		s.host.PortBindings = nat.PortMap{natPort: {{HostIP: t.Publish}}}
	}
	return s
}

// env is a container's whole environment, but for what the image says.
func env(t *Tunables, req sessions.StartRequest) []string {
	env := []string{
		bootapi.EnvSessionID + "=" + req.SessionID,
		bootapi.EnvTokenHash + "=" + req.TokenHash,
		bootapi.EnvPort + "=" + strconv.Itoa(port),
		bootapi.EnvWorkspace + "=" + sessionPath + "/workspace",
		bootapi.EnvCache + "=" + cachePath,
	}
	if t.APIUpstream != "" {
		env = append(env, bootapi.EnvAPIUpstream+"="+t.APIUpstream)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		env = append(env, name+"="+t.Env[name])
	}
	return env
}

// sessionVolume mounts a session's volume, which the engine makes where there is none.
func (r *Runner) sessionVolume(sessionID, clientID string) mount.Mount {
	return r.volume(r.sessionName(sessionID), sessionPath, map[string]string{labelSession: sessionID, labelClient: clientID})
}

// cacheVolume mounts the volume of a client's caches likewise.
func (r *Runner) cacheVolume(clientID string) mount.Mount {
	return r.volume(r.cacheName(clientID), cachePath, map[string]string{labelClient: clientID})
}

func (r *Runner) volume(name, target string, labels map[string]string) mount.Mount {
	labels[labelDeployment] = r.deployment
	return mount.Mount{
		Type: mount.TypeVolume, Source: name, Target: target, VolumeOptions: &mount.VolumeOptions{Labels: labels},
	}
}

func binds(volumes []Volume) []mount.Mount {
	mounts := make([]mount.Mount, 0, len(volumes))
	for _, v := range volumes {
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly})
	}
	return mounts
}
