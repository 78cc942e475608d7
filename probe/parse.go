package probe

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"viaduct/parent"
)

// kinds are the words that specifications begin with.
var kinds = [...]string{TCP: "tcp", TLS: "tls", HTTP: "http", GRPC: "grpc", Connect: "connect", Agent: "agent", None: "none"}

const forms = "tcp, tls, http:/path, https:/path, grpc, grpc:service, connect:host:port, agent:port, agent:port/path, none"

// Parse reads a specification, as the operator writes it in one word:
//
//	tcp  tls  none
//	http:/healthz  https:/healthz
//	grpc  grpc:service  grpc+tls:service  grpc+watch:service  grpc+tls+watch
//	connect:host:port  connect+tls:host:port
//	agent:port  agent+tls:port  agent:port/path  agent+tls:port/path
//
// The errors say what to write.
func Parse(spec string) (Check, error) {
	word, rest, hasRest := strings.Cut(spec, ":")
	c, err := parseKind(word)
	if err != nil {
		return Check{}, err
	}
	if hasRest && rest == "" {
		return Check{}, fmt.Errorf("health check %q ends with a colon: write one of %s", spec, forms)
	}
	switch c.Kind {
	case HTTP:
		c.Path = cmp.Or(rest, "/")
	case GRPC:
		c.Service = rest
	case Connect:
		c.Target, err = parseTarget(rest)
	case Agent:
		c.Port, c.Path, err = parseAgent(rest)
	default:
		if hasRest {
			err = fmt.Errorf("%s takes nothing behind it: write %s", word, word)
		}
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Check{}, fmt.Errorf("health check %q: %w", spec, err)
	}
	return c, nil
}

// parseKind reads what stands before the colon: a kind and what it is asked
// over.
func parseKind(word string) (Check, error) {
	name, options, _ := strings.Cut(word, "+")
	if word == "https" {
		name, options = "http", "tls"
	}
	kind := slices.Index(kinds[:], name)
	if kind < 0 {
		return Check{}, fmt.Errorf("health check %q is not known: write one of %s", word, forms)
	}
	c := Check{Kind: Kind(kind)}
	switch {
	case options == "" && name == word:
	case options == "tls" && (c.Kind == GRPC || c.Kind == Connect || c.Kind == Agent || word == "https"):
		c.Secure = true
	case options == "watch" && c.Kind == GRPC:
		c.Watch = true
	case options == "tls+watch" && c.Kind == GRPC:
		c.Secure, c.Watch = true, true
	case options == "tls" && c.Kind == HTTP:
		return Check{}, fmt.Errorf("health check %q: write https", word)
	default:
		return Check{}, fmt.Errorf("health check %q is not known: +tls goes with grpc, connect and agent, +watch behind it with grpc", word)
	}
	return c, nil
}

func parseAgent(rest string) (port uint16, path string, err error) {
	number, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		path = "/" + path
	}
	port, err = parsePort(number)
	return port, path, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q: write a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// parseTarget reads host:port into the one spelling of it, by the rules of those
// who ask for the tunnel: what they refuse would fail each run.
func parseTarget(s string) (string, error) {
	target, err := parent.CheckTarget(s)
	if err != nil {
		return "", fmt.Errorf("target %.100q: write host:port of a canary, like example.com:443: %w", s, err)
	}
	return target, nil
}

// Validate says what is wrong with a check that was not read by Parse. A check
// that is wrong fails each run with the same error.
func (c Check) Validate() error {
	if int(c.Kind) >= len(kinds) {
		return fmt.Errorf("a check of %s: there is none", c.Kind)
	}
	isOdd := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\@?#%`, r) }
	if strings.ContainsFunc(c.Host, isOdd) {
		return fmt.Errorf("host %q: write a name or an address", c.Host)
	}
	switch c.Kind {
	case HTTP:
		_, err := c.request()
		_, err2 := parseStatus(cmp.Or(c.Status, usualStatus))
		_, err3 := regexp.Compile(c.Body)
		if c.Body != "" && c.Method == http.MethodHead {
			err3 = errors.New("an answer to HEAD has no body: write GET, or no body to match")
		}
		return cmp.Or(err, err2, err3)
	case GRPC:
		isControl := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }
		if !utf8.ValidString(c.Service) || strings.ContainsFunc(c.Service, isControl) || len(c.Service) > mostMessage/2 {
			return fmt.Errorf("service %.100q: write a name like package.Service", c.Service)
		}
	case Connect:
		_, err := parseTarget(c.Target)
		return err
	case Agent:
		_, err := c.request()
		return err
	case TCP:
		if len(c.Expect) > mostExpected {
			return fmt.Errorf("expect: %d bytes; %d are looked at", len(c.Expect), mostExpected)
		}
	}
	return nil
}

// String is the check as Parse reads it. What Parse cannot say is not in it:
// see Key.
func (c Check) String() string {
	word := c.Kind.String()
	if c.Secure && c.Kind == HTTP {
		word = "https"
	} else if c.Secure && (c.Kind == GRPC || c.Kind == Connect || c.Kind == Agent) {
		word += "+tls"
	}
	if c.Watch && c.Kind == GRPC {
		word += "+watch"
	}
	rest := map[Kind]string{HTTP: cmp.Or(c.Path, "/"), GRPC: c.Service, Connect: c.Target, Agent: strconv.Itoa(int(c.Port)) + c.Path}[c.Kind]
	if rest == "" {
		return word
	}
	return word + ":" + rest
}

// Key tells definitions apart, and is the same for the same definition in
// another process: verdicts are kept by it. It is a digest, because passwords
// are sent in Fields and Send. Callbacks of a TLS configuration are not in it.
func (c Check) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %q %q %q %q", c.Host, c.Port, c.Path, c.Method, c.Status, c.Body)
	fmt.Fprintf(h, " %q %q %q %q %q %t %t", c.Fields, c.Send, c.Expect, c.Service, c.Target, c.Watch, c.Secure)
	if c.TLS != nil {
		fmt.Fprintf(h, " tls %s", tlsKey(c.TLS))
	}
	return c.Kind.String() + " " + hex.EncodeToString(h.Sum(nil)[:16])
}

// tlsKey is a digest of what makes a handshake pass or fail: not the pointer,
// because a reload makes a new one of the same file.
func tlsKey(t *tls.Config) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %t %d %d %q %d %q", t.ServerName, t.InsecureSkipVerify, t.MinVersion, t.MaxVersion, t.NextProtos, t.CipherSuites, t.EncryptedClientHelloConfigList)
	for _, cert := range t.Certificates {
		fmt.Fprintf(h, " certificate %q", cert.Certificate)
	}
	if t.RootCAs != nil {
		subjects := t.RootCAs.Subjects() //nolint:staticcheck // those of the system, which it leaves out, are the same for all
		slices.SortFunc(subjects, slices.Compare)
		fmt.Fprintf(h, " roots %q", subjects)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
