package steps

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

var (
	ownRegistry   = regexp.MustCompile(`(?m)^\s*registry\s*=`)
	yarnsRegistry = regexp.MustCompile(`(?m)^npmRegistryServer:`)
)

// registryEnv is the environment of pnpm and Yarn, which do not read all of npm's
// configuration: they use the registry and the certificates that npm is configured with
// on this machine, unless the site chooses its own.
func (b *Builder) registryEnv(ctx context.Context) ([]string, error) {
	if b.project.Manager.Name == toolchain.NPM {
		return b.env, nil
	}
	config, err := b.npmConfig(ctx)
	if err != nil {
		return nil, err
	}
	env := withDefault(b.env, "NODE_EXTRA_CA_CERTS", config["cafile"])
	env = withDefault(env, "YARN_ENABLE_TELEMETRY", "0")
	// Else what a package's script said is in a file that nobody sees.
	env = withDefault(env, "YARN_ENABLE_INLINE_BUILDS", "1")
	env = withDefault(env, "npm_config_cafile", config["cafile"])
	env = withDefault(env, "YARN_HTTPS_CA_FILE_PATH", config["cafile"])
	registry, err := url.Parse(config["registry"])
	if err != nil {
		return nil, fmt.Errorf("reading npm's configuration: %w", err)
	}
	if registry.Host == "" {
		return env, nil
	}
	says := func(name string, what *regexp.Regexp) bool {
		data, err := b.readOwn(filepath.Join(b.rootDir(), name))
		return err == nil && what.Match(data)
	}
	if !says(".npmrc", ownRegistry) {
		env = withDefault(env, "npm_config_registry", registry.String())
		env = withDefault(env, "pnpm_config_registry", registry.String())
		if !says(".yarnrc", ownRegistry) {
			env = withDefault(env, "YARN_REGISTRY", registry.String())
		}
	}
	if b.project.Manager.Berry && !says(".yarnrc.yml", yarnsRegistry) {
		env = withDefault(env, "YARN_NPM_REGISTRY_SERVER", strings.TrimSuffix(registry.String(), "/"))
		if registry.Scheme == "http" {
			env = withDefault(env, "YARN_UNSAFE_HTTP_WHITELIST", registry.Hostname())
		}
	}
	return env, nil
}

// npmConfig is what npm is configured with on this machine.
func (b *Builder) npmConfig(ctx context.Context) (map[string]string, error) {
	env := b.toolsEnv(toolchain.Tools{})
	npm, err := tool.LookPath("npm", env)
	if err != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := b.answer(ctx, env, npm, "config", "get", "registry", "cafile")
	if err != nil {
		return nil, fmt.Errorf("asking npm for its configuration: %w", err)
	}
	config := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && value != "null" {
			config[name] = value
		}
	}
	return config, nil
}
