package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/internal/dynamo"
)

// validEndpoint checks the URL of a DynamoDB; "" is AWS's.
func validEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("endpoint: must be http://host:port or https://host")
	}
	return nil
}

// tableForm is what DynamoDB takes as a table's name.
var tableForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)

// dynamoDBIdentity is which DynamoDB, as far as that is known without asking, and the table.
func dynamoDBIdentity(region, endpoint, table string) string {
	where := cmp.Or(endpoint, os.Getenv("AWS_ENDPOINT_URL_DYNAMODB"), os.Getenv("AWS_ENDPOINT_URL"), "aws")
	return fmt.Sprintf("dynamodb:%s %s %s", where, cmp.Or(region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")), table)
}

// tableChanges are those of the stores on DynamoDB.
func tableChanges(done []dynamo.TableChange) []TableChange {
	changes := make([]TableChange, 0, len(done))
	for _, c := range done {
		changes = append(changes, TableChange{Table: c.Table, Change: c.What})
	}
	return changes
}

// unmarshalOptions reads a guest's block of options with one argument each. An empty
// argument, as an environment variable that is not set leaves it, means the default.
func unmarshalOptions(d *caddyfile.Dispenser, guest string, texts map[string]*string, durations map[string]*caddy.Duration) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		if to, ok := durations[option]; ok {
			if err := unmarshalDuration(d, to); err != nil {
				return err
			}
			continue
		}
		to, ok := texts[option]
		if !ok {
			return d.Errf("unrecognized option %q of %s", option, guest)
		}
		if !d.AllArgs(to) {
			return d.ArgErr()
		}
	}
	return nil
}
