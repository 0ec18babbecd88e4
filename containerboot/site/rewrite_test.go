package site

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Cases are written with «P» where the prefix must appear: the input is the same
// text without it.
const mark = "«P»"

func TestRewriteHTML(t *testing.T) {
	cases := map[string]string{
		"link":              `<link rel="stylesheet" href="«P»/_astro/a.css">`,
		"single quotes":     `<img src='«P»/_astro/a.png'>`,
		"no quotes":         `<img src=«P»/_astro/a.png>`,
		"spaces":            `<img src = " «P»/_astro/a.png">`,
		"upper case":        `<IMG SRC="«P»/_astro/a.png">`,
		"self-closing":      `<image href="«P»/_astro/a.png"/>`,
		"no space between":  `<img alt="x"src="«P»/_astro/a.png">`,
		"angle in a value":  `<img alt="a > b" src="«P»/_astro/a.png">`,
		"srcset":            `<img srcset="«P»/_astro/a.png 1x, «P»/_astro/b.png 2x,«P»/_astro/c.png 3x">`,
		"imagesrcset":       `<link imagesrcset="«P»/_astro/a.png 100w, «P»/_astro/b.png 200w">`,
		"island":            `<astro-island component-url="«P»/_astro/C.js" renderer-url="«P»/_astro/client.js">`,
		"island's props":    `<astro-island props="{&quot;src&quot;:[0,&quot;«P»/_astro/a.png&quot;]}">`,
		"style attribute":   `<b style="background:url(«P»/_astro/a.png)">`,
		"style, entities":   `<b style="background:url(&quot;«P»/_astro/a.png&quot;)">`,
		"style, spaces":     `<b style='background:url( "«P»/_astro/a.png" )'>`,
		"style element":     `<style>b{background:url(«P»/_astro/a.png)}</style>`,
		"script element":    `<script type="module">import "«P»/_astro/a.js"</script>`,
		"import map":        `<script type="importmap">{"imports":{"a":"«P»/_astro/a.js"}}</script>`,
		"noscript":          `<noscript><img src="«P»/_astro/a.png"></noscript>`,
		"template":          `<template><img src="«P»/_astro/a.png"></template>`,
		"meta":              `<meta property="og:image" content="«P»/_astro/a.png">`,
		"frame's document":  `<iframe srcdoc="<img src=&quot;«P»/_astro/a.png&quot;>"></iframe>`,
		"after a script":    `<script>if (a < b) "</b>"</script><img src="«P»/_astro/a.png">`,
		"text":              `<p>see /_astro/a.css and "/_astro/b.css"</p>`,
		"code after a tag":  `<code>/_astro/</code>`,
		"comment":           `<!-- <img src="/_astro/a.png"> -->`,
		"title":             `<title>"/_astro/"</title>`,
		"textarea":          `<textarea><img src="/_astro/a.png"></textarea>`,
		"alternative text":  `<img alt="in /_astro/ there">`,
		"another host":      `<img src="https://cdn.example.com/_astro/a.png">`,
		"protocol-relative": `<img src="//cdn.example.com/_astro/a.png">`,
		"relative":          `<img src="./_astro/a.png"><img src="_astro/a.png"><img src="x/_astro/a.png">`,
		"other links":       `<a href="/about/">x</a><img src="/images/x.png"><img src="/_astrox/a.png">`,
		"prefixed already":  `<img src="/session/abc/_astro/a.png">`,
		"refresh":           `<meta http-equiv="refresh" content="0;url=«P»/about/">`,
		"refresh, root":     `<meta http-equiv=refresh content="5; URL = '«P»/'">`,
		"refresh, old form": `<META CONTENT="0; «P»/x?a=b" HTTP-EQUIV="Refresh">`,
		"refresh itself":    `<meta http-equiv="refresh" content="5">`,
		"refresh, prefixed": `<meta http-equiv="refresh" content="0;url=/session/abc/about/">`,
		"refresh elsewhere": `<meta http-equiv="refresh" content="0;url=//example.com/">`,
		"other meta":        `<meta name="refresh" content="0;url=/about/">`,
		"odd bytes":         "\xff\x00<img src=\"«P»/_astro/a.png\">\r\n\xfe",
		"tag without end":   `<p>x<img src="/_astro/a.png`,
		"only a bracket":    `<img src="«P»/_astro/a.png"><`,
	}
	rw := newRewriter("/session/abc", []string{"_astro/"})
	for name, want := range cases {
		t.Run(name, func(t *testing.T) { check(t, rw.forType("a.html", nil), want) })
	}
}

func TestRewriteCSS(t *testing.T) {
	cases := map[string]string{
		"bare":       `a{b:url(«P»/_astro/a.png)}`,
		"quotes":     `a{b:url("«P»/_astro/a.png") url('«P»/_astro/b.png')}`,
		"spaces":     "a{b:url( \n «P»/_astro/a.png )}",
		"import":     `@import "«P»/_astro/b.css";@import url(«P»/_astro/c.css);`,
		"image set":  `a{b:image-set("«P»/_astro/a.png" 1x,url(«P»/_astro/b.png) 2x)}`,
		"font":       `@font-face{src:url(«P»/_astro/f.woff2)format("woff2")}`,
		"other host": `a{b:url(https://x/_astro/a.png)}`,
		"relative":   `a{b:url(./_astro/a.png)}`,
		"comment":    `/* /_astro/a.png */`,
	}
	rw := newRewriter("/session/abc", []string{"_astro/"})
	for name, want := range cases {
		t.Run(name, func(t *testing.T) { check(t, rw.css, want) })
	}
}

func TestRewriteJS(t *testing.T) {
	cases := map[string]string{
		"image":              `const a={src:"«P»/_astro/a.png",width:1}`,
		"quotes":             "f('«P»/_astro/a.png',`«P»/_astro/${b}`)",
		"worker":             `new Worker(new URL("«P»/_astro/w.js",import.meta.url))`,
		"markup in a string": `"<img src=\"«P»/_astro/a.png\">"`,
		"styles in a string": `"a{background:url(«P»/_astro/a.png)}"`,
		"relative import":    `import"./_astro/a.js";import("../_astro/b.js")`,
		"regular expression": `if(/_astro/.test(p)||/\/_astro\//.test(p))0`,
		"part of a path":     "`${base}/_astro/a.png`",
		"preload, esbuild":   `pe="modulepreload",ue=function(t){return"«P»/"+t},Q={}`,
		"preload, oxc":       "const a=`modulepreload`,b=function(e){return`«P»/`+e};",
		"preload, as is":     `const scriptRel = 'modulepreload';const assetsURL = function(dep) { return "«P»/"+dep };`,
		"preload, relative":  `pe="modulepreload",ue=function(t,e){return new URL(t,e).href}`,
		"in a sentence":      `throw Error("not below /_astro/")`,
	}
	rw := newRewriter("/session/abc", []string{"_astro/"})
	for name, want := range cases {
		t.Run(name, func(t *testing.T) { check(t, rw.js, want) })
	}
}

func check(t *testing.T, rewrite rewriteFunc, want string) {
	t.Helper()
	src := strings.ReplaceAll(want, mark, "")
	given := []byte(src)
	got, changed := rewrite(given)
	assert.Equal(t, strings.ReplaceAll(want, mark, "/session/abc"), string(got))
	assert.Equal(t, strings.Contains(want, mark), changed)
	assert.Equal(t, src, string(given), "the source must stay")
}

func TestRewriteSeveralFolders(t *testing.T) {
	rw := newRewriter("/s", []string{"_astro/", "assets/"})
	got, _ := rw.html([]byte(`<img src="/assets/a.png"><img src="/_astro/a.png"><img src="/other/a.png">`), nil)
	assert.Equal(t, `<img src="/s/assets/a.png"><img src="/s/_astro/a.png"><img src="/other/a.png">`, string(got))
}

// The attribute would hold the hash of the file as built.
func TestRewriteDropsIntegrityOfRewrittenLinks(t *testing.T) {
	rw := newRewriter("/s", []string{"_astro/"})
	got, _ := rw.html([]byte(`<link integrity="sha384-x" href="/_astro/a.css" rel=stylesheet><script src="https://cdn/x.js" integrity="sha384-y"></script>`), nil)
	assert.Equal(t, `<link  href="/s/_astro/a.css" rel=stylesheet><script src="https://cdn/x.js" integrity="sha384-y"></script>`, string(got))
}

func TestRewriteKeepsAPolicyInThePageTrue(t *testing.T) {
	// printf '…' | openssl dgst -sha256 -binary | base64
	const before, after = "sha256-QMrH29pR2Cupfu9ThhhEKvoVR2qKs15cOwBzpsgyAIk=", "sha256-YdNBRpKDpSoOV0kIS09d9gIFtxP7dEk2IGMoHQF0AhU="
	rw := newRewriter("/s", []string{"_astro/"})
	got, _ := rw.html([]byte(`<meta http-equiv="content-security-policy" content="script-src 'self' '`+before+`' 'sha256-other'"><script>import "/_astro/a.js"</script>`), nil)
	assert.Equal(t, `<meta http-equiv="content-security-policy" content="script-src 'self' '`+after+`' 'sha256-other'"><script>import "/s/_astro/a.js"</script>`, string(got))
}

func TestEscapePath(t *testing.T) {
	assert.Equal(t, "/session/a%23b%27%22%29%20%26%2C%3C%C3%BC-_.~", escapePath(`/session/a#b'") &,<ü-_.~`))
}

func TestHashed(t *testing.T) {
	for name, want := range map[string]bool{
		"index.B7zz8Vtq.css": true, "photo.CxF5zWPl_Z1abc.webp": true, "worker-Da3_f-x9.js": true,
		"app.a1b2c3.js": true, "app.js": false, "main.component.js": false, "jquery.min.js": false,
		"jquery-3.7.1.min.js": false, "README": false, "": false, "a.b.c": false,
	} {
		assert.Equal(t, want, hashed(name), name)
	}
}

// FuzzRewrite rewrites any text: it must come whole, but for the prefix.
func FuzzRewrite(f *testing.F) {
	f.Add(`<img srcset="/_astro/a 1x, /_astro/b 2x" style="x:url(/_astro/c)"><script>"/_astro/d"</script><!--`)
	f.Add(`<noscript><img src=/_astro/x></noscript><a/_astro/=/_astro/ =`)
	f.Add(`<style>@import "/_astro/`)
	f.Add("<svg><![CDATA[<img src='/_astro/x'>]]>")
	f.Add(`p="modulepreload",e=function(t){return"/"+t}`)
	rw := newRewriter("/~s~", []string{"_astro/"})
	f.Fuzz(func(t *testing.T, src string) {
		if strings.Contains(src, "/~s~") || strings.Contains(strings.ToLower(src), "integrity") || strings.Contains(src, "sha") {
			return // what is taken out or changed on purpose
		}
		for name, rewrite := range map[string]rewriteFunc{"html": rw.forType("a.html", nil), "stream": streamed(rw), "css": rw.css, "js": rw.js} {
			got, changed := rewrite([]byte(src))
			if strings.ReplaceAll(string(got), "/~s~", "") != src || changed != (string(got) != src) {
				t.Fatalf("%s: %q became %q", name, src, got)
			}
		}
	})
}

// streamed rewrites a document that comes in pieces.
func streamed(rw *rewriter) rewriteFunc {
	return func(src []byte) ([]byte, bool) {
		body := io.NopCloser(iotest.OneByteReader(bytes.NewReader(src)))
		got, err := io.ReadAll(rw.stream(body, nil, nil, false))
		if err != nil {
			return nil, false
		}
		return got, string(got) != string(src)
	}
}

// A page that streams is passed on tag by tag, however it is cut.
func TestRewriteStreams(t *testing.T) {
	rw := newRewriter("/s", []string{"_astro/"})
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	got := bufio.NewReader(rw.stream(r, []byte("<live>"), []string{"http://127.0.0.1:1"}, false))
	for _, step := range [][2]string{
		{`<head><link href="/_astro/a.css">`, `<head><link href="/s/_astro/a.css">`},
		{`</head><p>some text</p>`, `<live></head><p>some text</p>`},
		{`<a href="http://127.0.0.1:1/x">`, `<a href="/s/x">`},
		{`<a href="http://127.0.0.1:11/x">`, `<a href="http://127.0.0.1:11/x">`},
		{`<script>import "/_astro/a.js"</script>`, `<script>import "/s/_astro/a.js"</script>`},
	} {
		go func() { _, _ = io.WriteString(w, step[0]) }()
		part := make([]byte, len(step[1]))
		_, err := io.ReadFull(got, part)
		require.NoError(t, err)
		assert.Equal(t, step[1], string(part))
	}
	w.Close()
	rest, err := io.ReadAll(got)
	require.NoError(t, err)
	assert.Empty(t, rest)
}

// What cannot be rewritten in time is passed on as it is.
func TestRewriteStreamsPastWhatIsTooLong(t *testing.T) {
	rw := newRewriter("/s", []string{"_astro/"})
	page := `<img src="/_astro/a.png"><p title="` + strings.Repeat("x", maxToken+1) + `"><img src="/_astro/b.png">`
	got, err := io.ReadAll(rw.stream(io.NopCloser(strings.NewReader(page)), nil, nil, false))
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(page, `"/_astro/a`, `"/s/_astro/a`, 1), string(got))
}

// A policy names the hashes of inline scripts, which have gone by when they are known.
func TestRewriteStreamsUnderAPolicy(t *testing.T) {
	rw := newRewriter("/s", []string{"_astro/"})
	page := `<script>import "/_astro/a.js"</script>`
	for name, c := range map[string]struct {
		page   string
		header bool
	}{
		"header": {page, true},
		"page":   {`<meta http-equiv="Content-Security-Policy" content="script-src 'sha256-x'">` + page, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(rw.stream(io.NopCloser(strings.NewReader(c.page)), nil, nil, c.header))
			require.NoError(t, err)
			assert.Equal(t, c.page, string(got))
		})
	}
}
