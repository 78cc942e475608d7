package hop

import (
	"bytes"

	"viaduct/fault"
)

// The refusals of a target. A client reads the sentence; refusing allocates
// nothing.
var (
	errNoHost    = fault.Bad(400, "The request does not say which host it is for.")
	errNoPort    = fault.Bad(400, "CONNECT needs a host and a port, such as example.com:443.")
	errPort      = fault.Bad(400, "The port must be a number from 1 to 65535 without leading zeros.")
	errBrackets  = fault.Bad(400, "An IPv6 address must stand in brackets, followed by a colon and the port.")
	errLiteral   = fault.Bad(400, "Only a valid IPv6 address without a zone may stand in brackets.")
	errName      = fault.Bad(400, "The host is not a valid name.")
	errNumeric   = fault.Bad(400, "An IPv4 address must be written as four decimal numbers with dots between them.")
	errByte      = fault.Bad(400, "The target has a space, a backslash or a control character in it.")
	errPercent   = fault.Bad(400, "A percent sign is not allowed in a host, neither for an encoded character nor for a zone.")
	errUserinfo  = fault.Bad(400, "User names and passwords are not allowed in a target.")
	errFragment  = fault.Bad(400, "A fragment (#) is not allowed in a target.")
	errAuthority = fault.Bad(400, "Here belong only a host and a port, no scheme and no path.")
	errOrigin    = fault.Bad(400, "This is a proxy: ask for a whole address that starts with http://, not only for a path.")
	errAbsolute  = fault.Bad(400, "This is a proxy: the target must be a whole address that starts with http://.")
	errHTTPS     = fault.Bad(400, "To reach an https address through this proxy, use CONNECT with the host and port 443.")
	errInside    = fault.Bad(400, "Inside this tunnel the target must be a path, or a whole address that starts with https://.")
	errScheme    = fault.Bad(501, "This proxy serves only http addresses, and everything else through CONNECT.")
)

// Ports of addresses that name none.
const (
	httpPort  = 80
	httpsPort = 443
)

// ParseAuthority reads the authority-form of CONNECT (RFC 9112 section 3.2.3):
// host and port, both required. Errors are shared *fault.Error values of status 400.
func ParseAuthority(b []byte) (Target, error) { return new(Parser).Authority(b) }

// ParseAbsolute reads the absolute-form (RFC 9112 section 3.2.2) of the http
// scheme. The path is the rest of b, byte for byte: it starts with "/", or with
// "?" when the path itself is empty, and is nil when nothing follows the
// authority. Errors are shared *fault.Error values: 501 for a scheme that is not
// served, else 400.
func ParseAbsolute(b []byte) (t Target, path []byte, err error) { return new(Parser).Absolute(b) }

// ParseHost reads the value of a Host field (RFC 9110 section 7.2), without
// space around it. A defaultPort of 0 makes the port required. Errors are shared *fault.Error values of status 400.
func ParseHost(b []byte, defaultPort uint16) (Target, error) {
	return new(Parser).HostField(b, defaultPort)
}

// Parser parses as the functions of this package do and remembers the last
// host, so that a connection that asks for the same host again and again
// allocates its name once. The zero Parser is ready. Not safe for concurrent use.
type Parser struct{ last Target }

// Authority is ParseAuthority.
func (p *Parser) Authority(b []byte) (Target, error) {
	a, err := split(b)
	switch {
	case err != nil:
		return Target{}, explain(b, err)
	case len(b) == 0:
		return Target{}, errNoHost
	case !a.hasPort:
		return Target{}, explain(b, errNoPort)
	}
	return p.target(b, a, 0)
}

// Absolute is ParseAbsolute.
func (p *Parser) Absolute(b []byte) (t Target, path []byte, err error) {
	rest, err := cutScheme(b)
	if err != nil {
		return Target{}, nil, err
	}
	return p.whole(rest, httpPort)
}

// whole reads an absolute-form behind its scheme.
func (p *Parser) whole(rest []byte, port uint16) (t Target, path []byte, err error) {
	end := 0
	for end < len(rest) && rest[end] != '/' && rest[end] != '?' && rest[end] != '#' {
		end++
	}
	authority, tail := rest[:end], rest[end:]
	if err := checkPath(tail); err != nil {
		return Target{}, nil, err
	}
	if t, err = p.HostField(authority, port); err != nil {
		return Target{}, nil, err
	}
	if len(tail) != 0 {
		path = tail
	}
	return t, path, nil
}

// Inside reads the target of a request inside a tunnel to an https origin: the
// origin-form, the asterisk-form of OPTIONS, whose path is nil, or the
// absolute-form of the https scheme. Only the last names a host; without, the
// Target is zero. Errors are shared *fault.Error values of status 400.
func (p *Parser) Inside(b []byte, options bool) (t Target, path []byte, err error) {
	switch {
	case len(b) > 0 && b[0] == '/':
		if err := checkPath(b); err != nil {
			return Target{}, nil, err
		}
		return Target{}, b, nil
	case string(b) == "*" && options:
		return Target{}, nil, nil
	case len(b) >= len(https) && foldedEqual(b[:len(https)], https):
		return p.whole(b[len(https):], httpsPort)
	}
	return Target{}, nil, errInside
}

const https = "https://"

// HostField is ParseHost.
func (p *Parser) HostField(b []byte, defaultPort uint16) (Target, error) {
	a, err := split(b)
	if err != nil {
		return Target{}, explain(b, err)
	}
	return p.target(b, a, defaultPort)
}

// target makes a Target of the parts of b.
func (p *Parser) target(b []byte, a authority, defaultPort uint16) (Target, error) {
	port, ok := defaultPort, true
	if a.hasPort {
		port, ok = parsePort(a.port)
	}
	if !ok || port == 0 {
		return Target{}, explain(b, errPort)
	}
	// A canonical host reads back as itself, so equal bytes need no second
	// look; brackets must agree, as [127.0.0.1] is no literal.
	if len(a.host) != 0 && string(a.host) == p.last.Host && a.bracketed == p.last.Addr.Is6() {
		p.last.Port = port
		return p.last, nil
	}
	t, err := parseHost(a)
	if err != nil {
		return Target{}, explain(b, err)
	}
	t.Port = port
	p.last = t
	return t, nil
}

// authority is host [":" port], taken apart but not yet looked at.
type authority struct {
	host, port         []byte
	bracketed, hasPort bool
}

func split(b []byte) (authority, *fault.Error) {
	if len(b) != 0 && b[0] == '[' {
		return splitBracketed(b)
	}
	i := bytes.IndexByte(b, ':')
	switch {
	case i < 0:
		return authority{host: b}, nil
	case bytes.IndexByte(b[i+1:], ':') >= 0:
		return authority{}, errBrackets
	}
	return authority{host: b[:i], port: b[i+1:], hasPort: true}, nil
}

func splitBracketed(b []byte) (authority, *fault.Error) {
	i := bytes.IndexByte(b, ']')
	switch {
	case i < 0:
		return authority{}, errBrackets
	case i+1 == len(b):
		return authority{host: b[1:i], bracketed: true}, nil
	case b[i+1] != ':':
		return authority{}, errBrackets
	}
	return authority{host: b[1:i], port: b[i+2:], bracketed: true, hasPort: true}, nil
}

// parsePort reads 1 to 65535 without sign and without leading zeros.
func parsePort(b []byte) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 || b[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), n <= 65535
}

// cutScheme returns what follows "http://".
func cutScheme(b []byte) ([]byte, error) {
	const http = "http://"
	if len(b) >= len(http) && foldedEqual(b[:len(http)], http) {
		return b[len(http):], nil
	}
	switch {
	case len(b) == 0:
		return nil, errNoHost
	case b[0] == '/':
		return nil, errOrigin
	case len(b) >= len(https) && foldedEqual(b[:len(https)], https):
		return nil, errHTTPS
	}
	if i := bytes.Index(b, []byte("://")); i > 0 && isScheme(b[:i]) {
		return nil, errScheme
	}
	return nil, errAbsolute
}

// isScheme follows RFC 3986 section 3.1.
func isScheme(b []byte) bool {
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return true
}

// checkPath refuses what would end a request line early or mean two things.
// Everything else in a path is the origin's business (RFC 9110 section 7.7).
func checkPath(b []byte) error {
	for _, c := range b {
		switch {
		case c <= ' ', c == 0x7f:
			return errByte
		case c == '#':
			return errFragment
		}
	}
	return nil
}

// explain finds a better reason than err by the first byte of b that never
// belongs into a target, so that the way of a good target need not look for it.
func explain(b []byte, err *fault.Error) *fault.Error {
	for _, c := range b {
		switch {
		case c <= ' ', c == 0x7f, c == '\\':
			return errByte
		case c == '#':
			return errFragment
		case c == '@':
			return errUserinfo
		case c == '%':
			return errPercent
		case c == '/', c == '?':
			return errAuthority
		}
	}
	return err
}
