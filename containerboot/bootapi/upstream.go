package bootapi

import (
	"errors"
	"net"
	"net/url"
	"strconv"
)

// CheckUpstream reports what is wrong with a value of EnvAPIUpstream: it must be
// http://host:port and nothing else. The error shows nothing of it, which may hold
// credentials.
func CheckUpstream(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil, u.Scheme != "http", u.Hostname() == "", u.Port() == "":
		return errors.New("must be an origin, http://host:port")
	case u.User != nil:
		return errors.New("must be an origin, http://host:port, without credentials")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return errors.New("port must be between 1 and 65535")
	}
	// A path, a query, a fragment, or anything else that is not the origin.
	if origin != "http://"+net.JoinHostPort(u.Hostname(), u.Port()) {
		return errors.New("must be an origin, http://host:port, with nothing after the port")
	}
	return nil
}
