package parent

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"viaduct/fault"
	"viaduct/hop"
)

// What is wrong with a parent. Nothing of what was written is repeated: any part
// of it may be a password with a sign too many.
var (
	errURL    = errors.New("not a URL: write http://host:port, https://host:port or socks5://user:password@host:port; in a password stand %40 for @, %2F for / and %25 for a percent sign")
	errScheme = errors.New("a parent proxy begins with http://, https:// or socks5://")
	errMore   = errors.New("nothing may follow the host and port of a parent proxy; write %2F for a / in a password, %3F for a ? and %23 for a #")

	errControl = errors.New("the user name and the password of a parent proxy have no control characters")
	errColon   = errors.New("the user name at an HTTP proxy has no colon (RFC 7617): everything behind it would be the password")
	errNoUser  = errors.New("a password for SOCKS5 needs a user name: write socks5://user:password@host:port")
	errLong    = errors.New("the user name and the password for SOCKS5 have at most 255 bytes (RFC 1929)")
	errVia     = errors.New("the value of a Via field is printable ASCII")
)

// Parse reads the URL of a parent: http, https or socks5 (socks5h is the same),
// perhaps a user and a password, a host and perhaps a port, else 80, 443 or
// 1080. Its errors repeat nothing of it.
func Parse(rawURL string) (Proxy, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Proxy{}, errURL // the error of url.Parse shows the password
	}
	var p Proxy
	port := uint16(80)
	switch u.Scheme {
	case "http":
	case "https":
		p.Scheme, port = HTTPS, 443
	case "socks5", "socks5h":
		p.Scheme, port = SOCKS5, 1080
	default:
		return Proxy{}, errScheme
	}
	switch {
	case u.Opaque != "" || u.Host == "":
		return Proxy{}, errURL
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return Proxy{}, errMore
	}
	to, err := hop.ParseHost([]byte(u.Host), port)
	if bad, ok := errors.AsType[*fault.Error](err); ok {
		return Proxy{}, errors.New("the host and port of a parent proxy: " + bad.Say())
	}
	p.Host, p.Port, p.User = to.Host, to.Port, u.User.Username()
	secret, _ := u.User.Password()
	p.Password = Hide(secret)
	if err := p.check(); err != nil {
		return Proxy{}, err
	}
	return p, nil
}

// check looks at what is sent to a parent. No more is needed for Parse, but a
// Proxy may be made without it.
func (p Proxy) check() error {
	secret := p.Password.Reveal()
	switch {
	case p.Scheme > SOCKS5:
		return errScheme
	case strings.ContainsFunc(p.User+secret, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errControl
	case p.Scheme != SOCKS5 && strings.Contains(p.User, ":"):
		return errColon
	case p.Scheme == SOCKS5 && p.User == "" && secret != "":
		return errNoUser
	case p.Scheme == SOCKS5 && max(len(p.User), len(secret)) > 255:
		return errLong
	case strings.ContainsFunc(p.Via, func(r rune) bool { return r < ' ' || r > '~' }):
		return errVia
	}
	return nil
}

// String is the URL without user and password.
func (p Proxy) String() string { return p.Scheme.String() + "://" + p.address() }

// GoString is String: nothing that prints a Proxy prints its password.
func (p Proxy) GoString() string { return p.String() }

func (p Proxy) address() string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }
