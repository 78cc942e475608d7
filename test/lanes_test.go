package test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"
)

// lane is a way through the proxy. A row does not know on which it runs: what
// starts proxies, clients and origins asks the test's name.
type lane string

const (
	fast      lane = "fast"      // head in, head out
	library   lane = "library"   // a filter that changes nothing matches every request
	inspected lane = "inspected" // inside a TLS tunnel that the proxy opens
	secure    lane = "tls"       // the client speaks TLS to the proxy
)

// laneOf is the lane of a test.
func laneOf(t testing.TB) lane {
	switch {
	case strings.HasPrefix(t.Name(), "TestLibraryLane/"):
		return library
	case strings.HasPrefix(t.Name(), "TestInspectedLane/"):
		return inspected
	case strings.HasPrefix(t.Name(), "TestSecureLane/"):
		return secure
	}
	return fast
}

// onLibrary are the rows that run on the library lane, too.
func onLibrary() []row {
	return except(notOnLibrary, targetRows, hopRows, profileRows, framingRows, answerRows, streamRows, interimRows,
		upgradeRows, persistRows, boundRows, guardRows, tunnelRows, failureRows, limitRows, timeoutRows, logRows,
		authRows, authUsersRows, policyRows, bypassRows, addressRows, recheckRows,
		parentWayRows, parentAnswerRows, parentGuardRows, parentEgressRows, parentWireRows, parentPairRows, parentHostileRows)
}

// onInspected are the rows that run inside an inspected tunnel, too.
func onInspected() []row {
	return except(notInspected, targetRows, hopRows, profileRows, framingRows, answerRows, streamRows, interimRows,
		upgradeRows, persistRows, boundRows, failureRows, limitRows, timeoutRows, tunnelRows)
}

// onSecure are the rows that run over an https:// listener, too. Those of short
// limits are not among them: a busy machine may need that long for the handshake.
func onSecure() []row {
	return except(notSecure, targetRows, hopRows, framingRows, answerRows, streamRows, interimRows, upgradeRows, persistRows,
		boundRows, connectRows, tunnelRows, failureRows, limitRows, logRows, authRows, recheckRows, sniRows)
}

// except is every row of the groups that has no reason to be left out.
func except(reasons map[string]string, groups ...[]row) []row {
	return slices.DeleteFunc(slices.Concat(groups...), func(r row) bool { return reasons[r.name] != "" })
}

// notOnLibrary are rows of the groups above that make no sense on the library
// lane, with the reason.
var notOnLibrary = map[string]string{
	"9110-5.3/request-order-and-case":        cased,
	"9110-5.3/answer-order-and-case":         cased,
	"product-1/rule-twins":                   "flags and environment, which have no filters",
	"product-2/rules-misspelt":               noRequest,
	"product-1/passwd-refuses":               noRequest,
	"product-2/users-refused":                noRequest,
	"product-2/users-empty":                  noRequest,
	"product-2/access-log-nonsense":          noRequest,
	"9110-9.3.6/client-half-closes":          tunnelled,
	"9110-9.3.6/origin-half-closes":          tunnelled,
	"9110-9.3.6/half-close-with-early-bytes": tunnelled,
	"9110-9.3.6/origin-resets":               tunnelled,
	"9110-9.3.6/client-resets":               tunnelled,
	"9110-9.3.6/bulk-both-ways":              tunnelled,
	"product-2/tunnel-idle-timeout":          tunnelled,
	"product-2/tunnel-trickle":               tunnelled,
	"product-2/half-close-timeout":           tunnelled,
	"9110-9.3.6/parent-banner":               tunnelled,
	"9110-9.3.6/parent-tunnel-ends":          tunnelled,
	"9110-9.3.6/parent-bulk":                 tunnelled,
	"9113-8.5/parent-many-tunnels":           tunnelled,
	"9110-9.3.6/parent-says-no":              tunnelled,
	"9110-9.3.6/parent-never-answers":        tunnelled,
	"9110-9.3.6/parent-next":                 tunnelled,
	"9110-9.3.6/parent-next-late":            tunnelled,
	"product-2/parent-rests-there":           tunnelled,
	"product-2/parent-rests-everywhere":      tunnelled,
	"product-2/egress-socks-parent":          tunnelled,
	"9113-8.5/parent-trunk-vanishes":         tunnelled,
	"product-2/parent-recheck":               tunnelled,
	"product-2/parent-inspected":             tunnelled,
}

// notInspected are rows of the groups above that make no sense inside an
// inspected tunnel, or that the harness cannot take there, with the reason.
var notInspected = map[string]string{
	"9110-9.3.6/client-half-closes":          nested,
	"9110-9.3.6/origin-half-closes":          nested,
	"9110-9.3.6/half-close-with-early-bytes": nested,
	"9110-9.3.6/origin-resets":               nested,
	"9110-9.3.6/client-resets":               nested,
	"9110-9.3.6/bulk-both-ways":              nested,
	"9110-9.3.6/client-leaves-during-dial":   nested,
	"product-2/tunnel-idle-timeout":          nested,
	"product-2/tunnel-trickle":               nested,
	"product-2/half-close-timeout":           nested,
	"9209-2.3.7/refused":                     nested,
	"9209-2.3.9/black-hole":                  nested,
	"9209-2.3.2/servfail":                    nested,
	"9209-2.3.2/nxdomain":                    nested,
	"9209-2.3.1/silent-resolver":             nested,
	"8305-5/black-hole-first":                nested,
	"9209-2.3.2/unknown-name":                elsewhereToo,
	"product-7/rejected-request-goes-on":     elsewhereToo,
	"product-7/browser":                      elsewhereToo,
	"9112-9.3/two-origins":                   elsewhereToo,
	"4559-6/another-destination":             elsewhereToo,
	"4559-6/tunnel":                          nested,
	"4559-6/users":                           "credentials for the proxy are those of the CONNECT",
	"4559-6/nothing-left":                    byThemselves,
	"9112-9.3.2/first-unreachable":           elsewhereToo,
	"9112-9.6/lingers":                       elsewhereToo,
	"9112-9.3.2/byte-by-byte":                pieces,
	"9110-4.2.3/scheme-and-host-case":        pieces,
	"9110-9.3.8/trace":                       schemed,
	"9110-4.2.2/https-absolute":              schemed,
	"9110-15.6.2/other-schemes":              schemed,
	"9112-3.2.1/origin-form":                 "inside, origin-form is the usual one",
	"9112-3.2.4/asterisk-form":               "inside, the asterisk is for the origin",
}

// notSecure are rows of the groups above that the harness cannot take there,
// with the reason.
var notSecure = map[string]string{
	"product-2/sni-wrong":           "its bytes go out in several records, and the reset may come between them",
	"4559-6/nothing-left":           byThemselves,
	"product-8/hup-reopens-log":     byThemselves,
	"product-2/access-log-nonsense": noRequest,
}

const (
	byThemselves = "its clients connect by themselves, not through the harness"
	nested       = "it opens a tunnel, and there is none inside a tunnel"
	elsewhereToo = "it asks for more than one destination, and a tunnel has one"
	pieces       = "its bytes are not such that the harness can turn http into https"
	schemed      = "it is about the scheme, which is https inside"

	cased     = "the library's header knows neither order nor letter case"
	noRequest = "no request is made"
	tunnelled = "a tunnel is neither filtered nor read"
)

// loadsOnLibrary are the loads that run there, too: they show whether the lane
// mixes answers up, or keeps what it should let go.
var loadsOnLibrary = map[string]bool{
	"load/no-mixups": true, "load/aborts": true, "load/one-connection": true, "load/clients-that-never-read": true,
}

// lanesOf says in the document on which lanes a row runs.
func lanesOf(name string) string {
	on := []string{string(fast)}
	for l, rows := range map[lane][]row{library: onLibrary(), inspected: onInspected(), secure: onSecure()} {
		if slices.ContainsFunc(rows, func(r row) bool { return r.name == name }) {
			on = append(on, string(l))
		}
	}
	slices.Sort(on[1:])
	return strings.Join(on, ", ")
}

// results is what became of the rows on each lane.
type results struct {
	mu sync.Mutex
	of map[string]map[lane]string
}

// outcomes are the results of this run.
var outcomes = results{of: map[string]map[lane]string{}}

// note writes down, when the test ends, what became of a row.
func (r *results) note(t *testing.T, name string) {
	at := laneOf(t)
	t.Cleanup(func() {
		verdict := "pass"
		switch {
		case t.Failed():
			verdict = "FAIL"
		case t.Skipped():
			verdict = "skipped"
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.of[name] == nil {
			r.of[name] = map[lane]string{}
		}
		if r.of[name][at] != "FAIL" {
			r.of[name][at] = verdict
		}
	})
}

// table is one line a row: what became of it on each lane.
func (r *results) table(names []string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-46s %-9s %-9s %-9s %s\n", "row", fast, library, inspected, secure)
	for _, name := range names {
		fmt.Fprintf(&b, "%-46s", name)
		for _, at := range []lane{fast, library, inspected, secure} {
			verdict := r.of[name][at]
			switch {
			case verdict == "" && strings.Contains(lanesOf(name), string(at)):
				verdict = "not run"
			case verdict == "":
				verdict = "n/a"
			}
			fmt.Fprintf(&b, " %-9s", verdict)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestLibraryLane runs the rows of the fast lane on the library lane.
func TestLibraryLane(t *testing.T) { runLane(t, library, onLibrary()) }

// TestInspectedLane runs them inside TLS that the proxy opens.
func TestInspectedLane(t *testing.T) { runLane(t, inspected, onInspected()) }

// TestSecureLane runs them over TLS to the proxy.
func TestSecureLane(t *testing.T) { runLane(t, secure, onSecure()) }

func runLane(t *testing.T, at lane, rows []row) {
	t.Helper()
	if raced() && at == secure {
		t.Skip("the race detector sees TLS clients in the rows about them, and inside inspected tunnels")
	}
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	h := &house{running: map[string]*proxy{}, dir: t.TempDir(), lane: at}
	t.Cleanup(func() { h.close(t) })
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			outcomes.note(t, r.name)
			r.run(t, h.door(t, r.door))
		})
	}
	t.Run("taken", func(t *testing.T) {
		t.Parallel()
		laneTaken(t, at)
	})
	for _, r := range loads {
		if at == library && loadsOnLibrary[r.name] && !testing.Short() && !raced() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.run(t, nil)
			})
		}
	}
	if raced() { // the parser is the same
		return
	}
	for _, s := range smuggling {
		t.Run("smuggling/"+s.name, func(t *testing.T) {
			t.Parallel()
			outcomes.note(t, "smuggling corpus")
			s.judge(t, h.door(t, ""), s.bytes)
		})
	}
}

// laneTaken makes sure that a request takes the lane at all.
func laneTaken(t *testing.T, at lane) {
	t.Helper()
	p := start(t, "--admin", "127.0.0.1:0")
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	series := map[lane]string{
		library:   `viaduct_requests_by_lane_total{lane="library",listener="127.0.0.1:0"}`,
		inspected: `viaduct_tls_handshakes_total{listener="127.0.0.1:0",result="ok",side="inspected"}`,
		secure:    `viaduct_tls_handshakes_total{listener="127.0.0.1:0",result="ok",side="client"}`,
	}[at]
	poll(t, series+" is 1", func() bool { return p.metric(t, series) == 1 })
}

func merged(m ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, one := range m {
		maps.Copy(all, one)
	}
	return all
}

// grouped are flags whose key in the file stands in a section of its own.
var grouped = map[string][2]string{
	"admin": {"admin", "listen"}, "admin-token-file": {"admin", "token_file"}, "admin-hosts": {"admin", "hosts"},
	"access-log": {"access", "path"}, "access-log-format": {"access", "format"}, "log-level": {"log", "level"},
	"tls-cert": {"tls", "cert"}, "tls-key": {"tls", "key"}, "tls-client-ca": {"tls", "client_ca"},
	"upstream": {"pool", "endpoints"}, "upstream-resolve": {"pool", "resolve"}, "health-check": {"health", "check"},
	"upstream-ca": {"parent", "ca"}, "upstream-cert": {"parent", "cert"}, "upstream-key": {"parent", "key"},
}

// many are flags that may be repeated, and take lists.
var many = []string{"listen", "egress", "resolver", "connect-ports", "admin-hosts", "tls-cert", "tls-key", "upstream"}

// section is a part of a configuration file.
type section = map[string]any

// filed is the configuration that flags of `viaduct forward` stand for.
func filed(flags []string) section {
	proxy := section{}
	parts := map[string]section{"admin": {}, "access": {}, "log": {}, "tls": {}, "pool": {}, "health": {}, "parent": {}}
	var rules, inspections []any
	for i := 0; i < len(flags); i++ {
		name := strings.TrimPrefix(flags[i], "--")
		value := any(true)
		if i+1 < len(flags) && !strings.HasPrefix(flags[i+1], "--") {
			i++
			value = flags[i]
		}
		in, key := proxy, strings.ReplaceAll(name, "-", "_")
		if g, ok := grouped[name]; ok {
			in, key = parts[g[0]], g[1]
		}
		switch {
		case name == "allow" || name == "deny":
			rules = append(rules, section{name: terms(fmt.Sprint(value)), "name": fmt.Sprint(name, "#", 1+count(rules, name))})
		case name == "inspect" || name == "inspect-pass":
			verb := map[string]string{"inspect": "decrypt", "inspect-pass": "pass"}[name]
			inspections = append(inspections, section{verb: terms(fmt.Sprint(value)), "name": fmt.Sprint(name, "#", 1+count(inspections, verb))})
		case slices.Contains(many, name):
			list, _ := in[key].([]string)
			in[key] = append(list, strings.Split(fmt.Sprint(value), ",")...)
		default:
			in[key] = value
		}
	}
	for key, list := range map[string][]any{"rules": rules, "inspect": inspections} {
		if list != nil {
			proxy[key] = list
		}
	}
	if len(parts["tls"]) > 0 {
		proxy["tls"] = parts["tls"]
	}
	whole := section{"forward": []any{proxy}}
	if len(parts["pool"]) > 0 {
		proxy["via"] = "upstream"
		parts["pool"]["health"], parts["pool"]["tls"] = parts["health"], parts["parent"]
		whole["pools"] = section{"upstream": parts["pool"]}
	}
	if len(parts["admin"]) > 0 {
		whole["admin"] = parts["admin"]
	}
	parts["log"]["access"] = parts["access"]
	whole["log"] = parts["log"]
	return whole
}

// count is how many of a list have a key.
func count(list []any, key string) (n int) {
	for _, one := range list {
		if _, ok := one.(section)[key]; ok {
			n++
		}
	}
	return n
}

// terms are those of a rule of the command line.
func terms(rule string) section {
	s := section{}
	for word := range strings.FieldsSeq(rule) {
		if field, values, ok := strings.Cut(word, "="); ok {
			s[field] = strings.Split(values, ",")
		}
	}
	return s
}

// divert makes a proxy that was to be started in some way run from a file, in
// which every request takes the lane.
func (l launch) divert(access string) (launch, error) {
	switch {
	case l.lane == "" || l.lane == fast:
		return l, nil
	case l.conf != "":
		text, err := l.lane.divert(l.conf)
		l.conf = text
		return l, err
	case l.args == nil:
		l.args = append([]string{"forward", "--listen", "127.0.0.1:0", "--access-log", access}, l.flags...)
	case l.args[0] != "forward":
		return l, nil
	}
	text, err := yaml.Marshal(filed(l.args[1:]))
	if err != nil {
		return l, err
	}
	l.conf, err = l.lane.divert(string(text))
	return l, err
}

// divert adds to each proxy of a file what takes its requests to the lane.
func (at lane) divert(text string) (string, error) {
	if at == "" || at == fast {
		return text, nil
	}
	var whole section
	if err := yaml.Unmarshal([]byte(text), &whole); err != nil {
		return "", err
	}
	s, err := testAuthorities()
	if err != nil {
		return "", err
	}
	proxies, _ := whole["forward"].([]any)
	for _, one := range proxies {
		entry, ok := one.(section)
		if !ok {
			return "", fmt.Errorf("no proxy in %q", text)
		}
		switch at {
		case library:
			entry["filters"] = []any{section{"request": section{"remove": []string{"X-Viaduct-Lane-Test"}}}}
		case inspected:
			entry["inspect"] = []any{section{"decrypt": section{}}}
			entry["ca"], entry["origin_ca"] = s.dir, s.origins
			entry["connect_ports"] = "any"
		case secure:
			list, _ := entry["listen"].([]any)
			for i := range list {
				list[i] = "https://" + fmt.Sprint(list[i])
			}
			entry["tls"] = section{"cert": s.site + ".crt", "key": s.site + ".key"}
		}
	}
	out, err := yaml.Marshal(whole)
	return string(out), err
}

// authorities are those of the inspected lane, and where they stand.
type authorities struct {
	inspection, origin *issuer
	dir                string // for --ca
	origins            string // for --origin-ca
	site               string // .crt and .key, of the proxy itself
}

// testAuthorities are made once, in the workshop.
var testAuthorities = sync.OnceValues(func() (*authorities, error) {
	root, err := workshop()
	if err != nil {
		return nil, err
	}
	s := &authorities{dir: filepath.Join(root, "ca"), origins: filepath.Join(root, "origins.crt")}
	if s.inspection, err = newIssuer("inspection of the tests"); err != nil {
		return nil, err
	}
	if s.origin, err = newIssuer("origins of the tests"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.inspection.save(filepath.Join(s.dir, "ca.crt"), filepath.Join(s.dir, "ca.key")); err != nil {
		return nil, err
	}
	s.site = filepath.Join(root, "site")
	site, err := s.origin.issue("127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := savePair(site, s.site+".crt", s.site+".key"); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.origins, s.origin.pem(), 0o644)
})

// secure makes an origin speak TLS with a certificate for whatever name or
// address it is called by.
func (s *authorities) secure() *tls.Config {
	return &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := h.ServerName
		if name == "" {
			name, _, _ = net.SplitHostPort(h.Conn.LocalAddr().String())
		}
		return s.origin.issue(name)
	}}
}

var absolute = regexp.MustCompile(`(?i)http://([^/ ?#\r\n]+)`)

// enter opens the tunnel that a client's requests go through: to the client's
// origin, or to whom its first bytes name. It gives back the bytes as they are
// to be sent inside.
func (c *client) enter(s string) (string, error) {
	if c.site == "" {
		c.site = c.fill("{O}")
		if m := absolute.FindStringSubmatch(s); c.site == "{O}" && m != nil {
			c.site = m[1]
		}
		if err := c.open(); err != nil {
			return s, err
		}
	}
	return strings.ReplaceAll(s, "http://"+c.site, "https://"+c.site), nil
}

// arrive does the handshake with a proxy that asks for one.
func (c *client) arrive() {
	c.Helper()
	if c.lane != secure {
		return
	}
	s, err := testAuthorities()
	if err == nil {
		err = c.hurry().greet(&tls.Config{ServerName: "127.0.0.1", RootCAs: s.origin.pool()})
	}
	if err != nil {
		c.Fatal(err)
	}
}

// open asks for the tunnel and does the handshake in it.
func (c *client) open() error {
	if c.site == "{O}" {
		return fmt.Errorf("these bytes name no destination: the row cannot run inside a tunnel")
	}
	fmt.Fprintf(c.conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.site, c.site)
	m, err := readAnswer(c.in, "CONNECT")
	if err != nil || m.status() != 200 {
		return fmt.Errorf("CONNECT %s: %v, %w", c.site, m, err)
	}
	s, err := testAuthorities()
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.site)
	if err != nil {
		return err
	}
	return c.greet(&tls.Config{ServerName: host, RootCAs: s.inspection.pool(), NextProtos: []string{"http/1.1"}})
}

// greet turns the client's connection into TLS.
func (c *client) greet(conf *tls.Config) error {
	inside := tls.Client(c.conn, conf) // a server says nothing first: nothing of it is in c.in
	if err := inside.Handshake(); err != nil {
		return fmt.Errorf("handshake with %q: %w", conf.ServerName, err)
	}
	c.conn, c.in = inside, bufio.NewReader(inside)
	return nil
}
