package site

import "net/http"

// homePage asks a program that serves below a base for its home page without a slash at
// the end where it has none with one: a session's address ends in a slash, and Astro's
// trailingSlash "never" refuses it.
type homePage struct{ *Program }

func (h homePage) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.Program.RoundTrip(r)
	base := h.serves()
	isHome := h.knows && base != "" && r.URL.Path == base+"/" && r.Body == nil &&
		(r.Method == http.MethodGet || r.Method == http.MethodHead)
	if err != nil || resp.StatusCode != http.StatusNotFound || !isHome {
		return resp, err
	}
	bare := r.Clone(r.Context())
	bare.URL.Path, bare.URL.RawPath = base, ""
	other, err := h.Program.RoundTrip(bare)
	if err != nil {
		return resp, nil //nolint:nilerr // what is there already is the answer
	}
	if other.StatusCode == http.StatusNotFound {
		other.Body.Close()
		return resp, nil
	}
	resp.Body.Close()
	return other, nil
}
