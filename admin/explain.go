package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ExplainQuery asks what would happen to a request.
type ExplainQuery struct {
	Listener string     // the entry that is asked about; "" for all of them
	Client   netip.Addr // where the request comes from
	User     string     // who has authenticated, or ""
	Method   string     // of a tunnel with a path: that of the request inside
	Host     string     // a name in lower case without final dot, or an address without brackets; package hop says more of it
	Port     uint16
	Connect  bool       // a tunnel
	Path     string     // with its query; of a tunnel that of a request inside, "" for the tunnel alone
	Addr     netip.Addr // what the host's name is taken to lead to; zero: not known
}

// ParameterError is a parameter of a question that cannot be taken as it is.
type ParameterError struct {
	Name string // url, client, ...
	Text string // what is wrong with it, and what to do
}

func (e *ParameterError) Error() string { return e.Name + ": " + e.Text }

// parameters of a question, in the order in which people read them.
func parameters() []string { return []string{"url", "method", "user", "client", "addr", "listener"} }

// ParseExplain reads a question. Only url is required. http://host/path is asked
// for as it stands; https://host/path means a CONNECT and the request inside its
// tunnel, of which a proxy that does not open it sees nothing; host:port means a
// CONNECT alone. A client that is not named is one on this machine. The error is
// a *ParameterError.
func ParseExplain(v url.Values) (ExplainQuery, error) {
	q := ExplainQuery{User: v.Get("user"), Listener: v.Get("listener")}
	known := parameters()
	for _, name := range slices.Sorted(maps.Keys(v)) {
		values := v[name]
		switch {
		case !slices.Contains(known, name):
			return q, &ParameterError{strconv.Quote(name), "no such parameter: there are " + strings.Join(known, ", ")}
		case len(values) > 1:
			return q, &ParameterError{name, "it is there twice"}
		case strings.ContainsFunc(values[0], isControl):
			return q, &ParameterError{name, "there is a control character in it"}
		}
	}
	if err := q.setURL(v.Get("url"), v.Get("method")); err != nil {
		return q, err
	}
	q.Client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range []struct {
		name string
		to   *netip.Addr
	}{{"client", &q.Client}, {"addr", &q.Addr}} {
		text := v.Get(a.name)
		if text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return q, &ParameterError{a.name, fmt.Sprintf("%q is no address: write 192.0.2.7 or 2001:db8::7", text)}
		}
		*a.to = addr
	}
	return q, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// setURL takes what a client would ask for.
func (q *ExplainQuery) setURL(text, method string) error {
	scheme, rest, isURL := strings.Cut(text, "://")
	q.Connect, q.Method = true, http.MethodConnect
	authority := text
	switch scheme = strings.ToLower(scheme); {
	case text == "":
		return &ParameterError{"url", "say what is asked for, such as http://example.com/ or example.com:443"}
	case strings.Contains(text, " "):
		return &ParameterError{"url", "there is a space in it: write %20"}
	case !isURL:
	case scheme == "https", scheme == "http":
		q.Connect, q.Method = scheme == "https", http.MethodGet
		authority, q.Path = cutAuthority(rest)
		if !strings.HasPrefix(q.Path, "/") {
			q.Path = "/" + q.Path // RFC 9112 section 3.2.1
		}
	default:
		return &ParameterError{"url", fmt.Sprintf("%q is no scheme of a proxy's: write http://, https:// or host:port", scheme)}
	}
	if err := q.setMethod(method); err != nil {
		return err
	}
	return q.setAuthority(authority, isURL)
}

// cutAuthority parts what follows the scheme. The fragment stays with the client.
func cutAuthority(rest string) (authority, path string) {
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return rest, ""
	}
	return rest[:end], rest[end:]
}

// setMethod takes a method that fits to the form of the url.
func (q *ExplainQuery) setMethod(method string) error {
	switch {
	case method == "" || method == q.Method:
		return nil
	case q.Connect && q.Path == "":
		return &ParameterError{"method", fmt.Sprintf("host:port means a CONNECT: leave %q out, or write https:// or http:// before it", method)}
	case q.Connect && method == http.MethodConnect:
		q.Path = "" // the tunnel alone
	case method == http.MethodConnect:
		return &ParameterError{"method", "CONNECT asks for host:port, such as example.com:443"}
	case strings.ContainsFunc(method, isNoToken):
		return &ParameterError{"method", fmt.Sprintf("%q is none", method)}
	}
	q.Method = method
	return nil
}

// isNoToken tells what no method has in it (RFC 9110 section 5.6.2).
func isNoToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// setAuthority takes host and port, the latter with a default where the url has
// a scheme.
func (q *ExplainQuery) setAuthority(authority string, hasScheme bool) error {
	name, port, hasPort := authority, "", false
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.Contains(authority[i:], "]") {
		name, port, hasPort = authority[:i], authority[i+1:], true
	}
	switch {
	case strings.Contains(authority, "@"):
		return &ParameterError{"url", "leave the user name and password out"}
	case !hasScheme && (!hasPort || strings.ContainsAny(authority, "/?#")):
		return &ParameterError{"url", fmt.Sprintf("write http://%s, or host:port for a CONNECT", authority)}
	case q.Connect:
		q.Port = 443
	default:
		q.Port = 80
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || port[0] == '0' {
			return &ParameterError{"url", fmt.Sprintf("%q is no port: they are from 1 to 65535", port)}
		}
		q.Port = uint16(n)
	}
	var ok bool
	if q.Host, ok = readHost(name); !ok {
		return &ParameterError{"url", fmt.Sprintf("%q is no host: write a name, or an address, in brackets if it is IPv6", name)}
	}
	return nil
}

// readHost makes the one spelling of a host that every client means by it. What
// its letters beyond ASCII become, and whether it is a name at all, the proxy
// says.
func readHost(text string) (string, bool) {
	if inner, bracketed := strings.CutPrefix(text, "["); bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return a.String(), bracketed && err == nil && a.Is6() && a.Zone() == ""
	}
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	return text, text != "" && !strings.ContainsAny(text, `:[]%\`)
}

// explain answers what would happen to a request, as JSON.
func (a *Admin) explain(w http.ResponseWriter, r *http.Request) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		err = errors.New("the query cannot be read: write each parameter percent-encoded")
	}
	var q ExplainQuery
	if err == nil {
		q, err = ParseExplain(v)
	}
	var found any
	if err == nil {
		found, err = a.explainer(q)
	}
	if err != nil {
		tell(w, http.StatusBadRequest, struct {
			Error string `json:"error"`
		}{err.Error()})
		return
	}
	tell(w, http.StatusOK, found)
}

// tell answers with JSON that people can read, too.
func tell(w http.ResponseWriter, status int, what any) {
	text, err := json.MarshalIndent(what, "", "  ")
	if err != nil {
		panic(err) // it is of our own making
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
