package toolchain

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadsFiles(t *testing.T) {
	t.Parallel()
	for script, reads := range map[string]bool{
		"":                                true,
		"husky":                           false,
		"husky install":                   false,
		"husky install .config/husky":     false,
		"husky || true":                   false,
		"is-ci || husky install":          false,
		"npx only-allow pnpm":             false,
		"simple-git-hooks && echo done":   false,
		"patch-package":                   false,
		"patch-package; npx husky":        false,
		"npm rebuild sharp --force":       false,
		"patch-package --patch-dir other": true,
		"husky && node scripts/build.mjs": true,
		"echo $(node x.mjs)":              true,
		"echo a > b":                      true,
		"husky install $(cat where)":      true,
		"astro sync":                      true,
		"npx husky-of-another":            true,
	} {
		data, err := json.Marshal(map[string]any{"scripts": map[string]any{"prepare": script}})
		require.NoError(t, err)
		p := &Project{Files: Files(tree(t, map[string]string{"package.json": string(data)})), Root: ".", Site: "."}
		assert.Equal(t, reads, p.ReadsFiles([]string{"."}), script)
	}
	for manifest, reads := range map[string]bool{
		`{"scripts":{"build":"node x.mjs"}}`:        false,
		`{"scripts":{"postinstall":1}}`:             true,
		`{"dependencies":{"own":"file:./own"}}`:     true,
		`{"dependencies":{"own":"workspace:*"}}`:    false,
		`{"devDependencies":{"own":"../own"}}`:      true,
		`{"optionalDependencies":{"own":"~/own"}}`:  true,
		`{"dependencies":{"a":"~1.2.0","b":"u/r"}}`: false,
		`{"main":"./index.js"}`:                     false,
		`{"scripts":{"pnpm:devPreinstall":"x"}}`:    true,
		`{"scripts":`:                               true,
		`{"dependenciesMeta":{"a":{"injected":1}}}`: true,
		// Patches in the usual folders count by their content, others as any file.
		`{"pnpm":{"patchedDependencies":{"a@1.0.0":"patches/a@1.0.0.patch"}}}`:           false,
		`{"pnpm":{"patchedDependencies":{"a@1.0.0":"./patches/@b/a.patch"}}}`:            false,
		`{"pnpm":{"patchedDependencies":{"a@1.0.0":"fixes/a@1.0.0.patch"}}}`:             true,
		`{"pnpm":{"patchedDependencies":{"a@1.0.0":"../patches/a@1.0.0.patch"}}}`:        true,
		`{"dependencies":{"a":"patch:a@npm%3A1.0.0#~/.yarn/patches/a-npm-1.0.0.patch"}}`: false,
		`{"dependencies":{"a":"patch:a@npm%3A1.0.0#./fixes/a.patch"}}`:                   true,
	} {
		p := &Project{Files: Files(tree(t, map[string]string{"package.json": manifest})), Root: ".", Site: "."}
		assert.Equal(t, reads, p.ReadsFiles([]string{"."}), manifest)
	}
}

// TestReadsPatches: pnpm 10 and newer are told of patches by a file of their own.
func TestReadsPatches(t *testing.T) {
	t.Parallel()
	for settings, reads := range map[string]bool{
		"packages:\n  - .\npatchedDependencies:\n  a@1.0.0: patches/a@1.0.0.patch\n": false,
		"patchedDependencies:\n  '@b/a': './patches/@b__a.patch'\n":                  false,
		"patchedDependencies:\n  a: fixes/a.patch\n":                                 true,
	} {
		p := &Project{Files: Files(tree(t, map[string]string{"package.json": "{}", "pnpm-workspace.yaml": settings})), Root: ".", Site: "."}
		assert.Equal(t, reads, p.ReadsFiles([]string{"."}), settings)
	}
}
