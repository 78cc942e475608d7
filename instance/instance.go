// Package instance asks a running viaduct by its admin address.
package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MistakeError is what whoever asks can put right, in words that say how. Words
// of the instance's may be among them.
type MistakeError string

func (e MistakeError) Error() string { return string(e) }

// Instance is a running viaduct, as seen from its admin address.
type Instance struct {
	name  string // for people: http://127.0.0.1:9090 or unix:///run/viaduct.sock
	base  string // what its URLs begin with
	path  string // of its socket in the file system, if it has one
	token string
}

// mostAnswer bounds what an instance is believed to answer.
const mostAnswer = 16 << 20

// At is the instance with an admin address, host:port or unix:///path, and the
// token that it asks for, if any. An address that means every one of a machine
// is reached by its loopback. The error is a MistakeError.
func At(addr, token string) (Instance, error) {
	if path, local := strings.CutPrefix(addr, "unix://"); local {
		if !filepath.IsAbs(path) {
			return Instance{}, MistakeError(addr + ": write the whole path, such as unix:///run/viaduct.sock")
		}
		return Instance{name: addr, base: "http://localhost", path: path, token: token}, nil
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(addr, "http://"), "/"))
	_, noPort := strconv.ParseUint(port, 10, 16)
	if err != nil || noPort != nil || strings.ContainsAny(host, "/@?#% ") {
		return Instance{}, MistakeError(addr + ": write host:port, such as 127.0.0.1:9090, or unix:///run/viaduct.sock")
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	base := "http://" + net.JoinHostPort(host, port)
	return Instance{name: base, base: base, token: token}, nil
}

// Ask reads the answer at a path, with its query, into found, as JSON. The error
// is a MistakeError where the question, the token or the address is wrong.
func (i Instance) Ask(ctx context.Context, path string, found any) error {
	status, body, err := i.get(ctx, path)
	if err != nil {
		return err
	}
	var wrong struct{ Error string }
	switch {
	case status == http.StatusOK && json.Unmarshal(body, found) == nil:
		return nil
	case status == http.StatusBadRequest && json.Unmarshal(body, &wrong) == nil && wrong.Error != "":
		return MistakeError(wrong.Error)
	case status == http.StatusUnauthorized && i.token == "":
		return MistakeError(i.name + " asks for a token: add --admin-token-file FILE")
	case status == http.StatusUnauthorized:
		return MistakeError(i.name + " knows another token")
	case status == http.StatusMisdirectedRequest:
		return MistakeError(i.name + " does not go by this name: write its address, or add the name to the admin hosts")
	}
	return i.Foreign(status)
}

// Foreign is the error of an answer with a status that is none of viaduct's.
func (i Instance) Foreign(status int) error {
	return fmt.Errorf("%s answers %d, and not as viaduct does: is it another program, or another version?", i.name, status)
}

// get asks for a path, on a connection of its own.
func (i Instance) get(ctx context.Context, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if i.token != "" {
		request.Header.Set("Authorization", "Bearer "+i.token)
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy of the environment
	if i.path != "" {
		transport.DialContext = i.dial
	}
	answer, err := transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		return 0, nil, fmt.Errorf("no viaduct answers at %s: %w", i.name, err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of %s breaks off: %w", i.name, err)
	}
	return answer.StatusCode, body, nil
}

// dial connects to the socket in the file system.
func (i Instance) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", i.path)
}
