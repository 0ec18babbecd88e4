package site

import (
	"path"
	"strconv"
	"strings"
)

// Header values that are the same for every answer, made once. They are never
// changed, only replaced.
var (
	headerNosniff = []string{"nosniff"}
	headerBytes   = []string{"bytes"}
)

// contentType returns the media type of a file by its extension. The machine's own
// tables are not asked: they differ from one container image to the next.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js", ".mjs", ".cjs":
		return "text/javascript; charset=utf-8"
	case ".json", ".map":
		return "application/json; charset=utf-8"
	case ".jsonld":
		return "application/ld+json; charset=utf-8"
	case ".geojson":
		return "application/geo+json; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json; charset=utf-8"
	case ".xml", ".xsl":
		return "application/xml; charset=utf-8"
	case ".rss":
		return "application/rss+xml; charset=utf-8"
	case ".atom":
		return "application/atom+xml; charset=utf-8"
	case ".txt", ".text":
		return "text/plain; charset=utf-8"
	case ".md", ".mdx":
		return "text/markdown; charset=utf-8"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".ics":
		return "text/calendar; charset=utf-8"
	case ".vcf":
		return "text/vcard; charset=utf-8"
	case ".vtt":
		return "text/vtt; charset=utf-8"
	case ".svg":
		return "image/svg+xml; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	case ".avif":
		return "image/avif"
	case ".webp":
		return "image/webp"
	case ".png":
		return "image/png"
	case ".apng":
		return "image/apng"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".jxl":
		return "image/jxl"
	case ".gif":
		return "image/gif"
	case ".ico":
		return "image/x-icon"
	case ".bmp":
		return "image/bmp"
	case ".tif", ".tiff":
		return "image/tiff"
	case ".woff2":
		return "font/woff2"
	case ".woff":
		return "font/woff"
	case ".ttf":
		return "font/ttf"
	case ".otf":
		return "font/otf"
	case ".eot":
		return "application/vnd.ms-fontobject"
	case ".mp4", ".m4v":
		return "video/mp4"
	case ".webm":
		return "video/webm"
	case ".mov":
		return "video/quicktime"
	case ".ogv":
		return "video/ogg"
	case ".mp3":
		return "audio/mpeg"
	case ".m4a":
		return "audio/mp4"
	case ".ogg", ".oga", ".opus":
		return "audio/ogg"
	case ".wav":
		return "audio/wav"
	case ".flac":
		return "audio/flac"
	case ".pdf":
		return "application/pdf"
	case ".glb":
		return "model/gltf-binary"
	case ".gltf":
		return "model/gltf+json"
	case ".zip":
		return "application/zip"
	case ".gz":
		return "application/gzip"
	}
	return "application/octet-stream"
}

// cacheControl lets a browser keep what has the hash of its content in its name, and
// has it ask again for everything else.
func cacheControl(name string, assets []string) []string {
	for _, dir := range assets {
		if strings.HasPrefix(name, dir) && hashed(path.Base(name)) {
			return []string{"public, max-age=31536000, immutable"}
		}
	}
	return []string{"no-cache"}
}

// hashed reports whether a file's name holds a hash, as in index.B7zz8Vtq.css,
// photo.CxF5zWPl_Z1abc.webp or worker-Da3_f-x9.js. A site may be set up to name its
// assets without one, and such a file kept for a year would hide every edit. A hash
// has six or more characters, among them a digit or a capital.
func hashed(base string) bool {
	stem := strings.TrimSuffix(base, path.Ext(base))
	if _, last, ok := cutLast(stem, "."); ok && len(last) >= 6 && looksRandom(last) {
		return true
	}
	// Vite's own form: eight characters, which may be hyphens themselves.
	return len(stem) > 9 && stem[len(stem)-9] == '-' && looksRandom(stem[len(stem)-8:])
}

func looksRandom(s string) bool {
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" &&
		strings.ContainsAny(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// coding is a content coding with the suffix of the files that are so coded.
type coding struct{ name, suffix string }

// codings lists the known content codings, best first.
func codings() [2]coding { return [2]coding{{"br", ".br"}, {"gzip", ".gz"}} }

// accepts reports whether the values of Accept-Encoding name a content coding, or
// any (*), and do not exclude it with q=0.
func accepts(values []string, name string) bool {
	others := false
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			token, params, _ := strings.Cut(item, ";")
			token = strings.TrimSpace(token)
			switch {
			case strings.EqualFold(token, name):
				return wanted(params)
			case token == "*":
				others = wanted(params)
			}
		}
	}
	return others
}

// wanted reads the q parameter of an item.
func wanted(params string) bool {
	key, value, ok := strings.Cut(params, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(key), "q") {
		return true
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && q > 0
}
