package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var reloadRows = []row{
	{"product-1/run", "–", "`viaduct run -c FILE` serves what stands in the file; paths in it are taken from its folder.", own, runFile},
	{"product-1/run-refuses", "–", "A file that cannot be read: exit 2. A mistake in it: exit 1 and FILE:LINE:COL; nothing is opened.", own, runRefuses},
	{"product-1/run-ignores-twins", "T73", "VIADUCT_ variables do not change what `run` reads from its file.", own, runIgnoresTwins},
	{"product-8/hup-takes-the-file", "T69", "SIGHUP: kept connections are served by the new rules from their next request on, tunnels and exchanges under way go on.", own, reloadHolds},
	{"product-8/hup-listeners", "T69", "A listener that the file has gained is opened; one that it has lost is closed, and what came in through it ends in peace.", own, reloadListeners},
	{"product-8/hup-back-and-forth", "T69", "A listener that goes and comes back at once, ten times, while clients come: each time it is opened again.", own, reloadBackAndForth},
	{"product-8/hup-reordered", "T69", "A proxy that is put before another in the file: each is counted by itself, and clients of the other notice nothing.", own, reloadReordered},
	{"product-8/hup-broken-file", "T69", "A file that cannot be taken changes nothing, and the reason stands on standard error, with FILE:LINE:COL where there is one.", own, reloadBroken},
	{"product-8/hup-admin", "T69", "Reloads are counted, with their result, and the admin address comes, moves and goes.", own, reloadAdmin},
	{"product-8/hup-from-flags", "–", "SIGHUP to a proxy that runs from flags: it goes on.", own, reloadFlags},
	{"product-5/watch", "–", "`watch: true`: a file that is written over or renamed into place is taken without being told.", own, watchFile},
	{"product-5/watch-from-the-start", "–", "A change that comes as soon as the proxy listens is not missed.", own, watchAtOnce},
	{"product-5/watch-link", "–", "The same where the file is a link and what it leads to is swapped, as Kubernetes does.", own, watchLink},
	{"product-5/watch-mended", "–", "A change with a mistake is told and not taken; the mended file is.", own, watchMended},
	{"product-5/not-watched", "–", "Without `watch: true` a change waits for SIGHUP.", own, notWatched},
	{"product-8/readiness-red", "T70", "SIGTERM: readiness turns red at once, while drain_grace still accepts and while a tunnel is waited for; the admin address answers to the end.", own, readinessRed},
	{"product-8/drain-cuts-exchange", "T70", "An exchange that does not end is cut at the drain deadline: exit 3, and the client does not take it for whole.", own, drainCutsExchange},
	{"product-8/drain-after-reload", "T70", "A tunnel of a listener that a reload has taken away is waited for like others, and cut like them.", own, drainAfterReload},
	{"product-8/hup-while-draining", "T70", "SIGHUP during the drain is ignored.", own, hupWhileDraining},
	{"product-8/killed-and-back", "–", "kill -9 with clients connected, and start again on the same address: it serves within 3 seconds.", own, killedAndBack},
}

// conf is a configuration file with one lenient proxy, and more lines of it.
func conf(more ...string) string { return confWith("", more...) }

// confWith is conf with lines before the proxy.
func confWith(top string, more ...string) string {
	text := top + `log: {access: {path: access.log}}
forward:
  - listen: [127.0.0.1:0]
    allow_private: true
    connect_ports: any
`
	for _, line := range more {
		text += "    " + line + "\n"
	}
	return text
}

// write replaces the configuration file in one go.
func (p *proxy) write(t testing.TB, text string) {
	t.Helper()
	text, err := p.lane.divert(text)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, p.conf, text)
}

func replaceFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// What the process says of a reload.
const (
	taken    = "configuration is taken"
	notTaken = "configuration is not taken"
)

// says counts lines on standard error with some words.
func (p *proxy) says(words string) int { return strings.Count(p.log(), words) }

// reload has the process take another file.
func (p *proxy) reload(t testing.TB, text string) {
	t.Helper()
	before, said := p.says(taken), len(p.log())
	p.write(t, text)
	p.signal(t, syscall.SIGHUP)
	poll(t, "an end of the reload", func() bool { return strings.Contains(p.log()[said:], "configuration is ") })
	if p.says(taken) == before {
		t.Fatalf("the file was not taken:\n%s", p.log()[said:])
	}
}

// listeners are the addresses that were ever announced.
func (p *proxy) listeners() (addrs []string) {
	for _, m := range addrOf.FindAllStringSubmatch(p.log(), -1) {
		addrs = append(addrs, m[1])
	}
	return addrs
}

// at is the proxy by another of its addresses.
func (p *proxy) at(addr string) *proxy {
	return &proxy{addr: addr, port: addr[strings.LastIndexByte(addr, ':')+1:]}
}

var adminOf = regexp.MustCompile(`admin=(\S+)`)

// admin asks the admin address, the last one announced.
func (p *proxy) admin(t testing.TB, path string) *message {
	t.Helper()
	var at string
	poll(t, "an admin address", func() bool {
		for _, m := range adminOf.FindAllStringSubmatch(p.log(), -1) {
			at = m[1]
		}
		return at != ""
	})
	return dial(t, p.at(at)).ask("GET "+path+" HTTP/1.1", "Host: "+at, "Connection: close").answer()
}

// metric is the value of a series as it stands in the text of /metrics.
func (p *proxy) metric(t testing.TB, series string) (value float64) {
	t.Helper()
	m := p.admin(t, "/metrics")
	for line := range strings.Lines(m.body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no %s in the metrics:\n%s", series, clip(m.raw+m.body))
	return 0
}

func runFile(t *testing.T, _ *proxy) {
	p := launch{conf: conf("anonymity: via")}.start(t)
	if via := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").get("Via"); via != "1.1 viaduct" {
		t.Errorf("anonymity: via, and Via is %q", via)
	}
	if line := p.lines(t, 1)[0]; line["status"] != 200.0 {
		t.Errorf("the log says %v", line)
	}
}

func runRefuses(t *testing.T, _ *proxy) {
	dir := t.TempDir()
	complains(t, 2, nil, []string{"run", "-c", dir + "/none.yaml"}, []string{dir + "/none.yaml"})
	complains(t, 1, nil, []string{"run"}, []string{"-c"})
	o := newOrigin(t, echo) // its address is in use
	file := filepath.Join(dir, "viaduct.yaml")
	for _, mistake := range mistakes(o.addr) {
		if err := os.WriteFile(file, []byte(mistake.text), 0o600); err != nil {
			t.Fatal(err)
		}
		complains(t, mistake.code, nil, []string{"run", "-c", file}, []string{strings.ReplaceAll(mistake.says, "FILE", file)})
	}
}

// mistake is a file that cannot be taken.
type mistake struct {
	name, text, says string
	code             int // of a start with it
}

func mistakes(inUse string) []mistake {
	return []mistake{
		{"yaml", "forward:\n  - listen: [127.0.0.1:0\n", "FILE:", 1},
		{"empty", "", "FILE:1:1", 1},
		{"tab", "forward:\n\t- listen: 127.0.0.1:0\n", "FILE:2:1", 1},
		{"unknown key", conf("anonymous: via"), "FILE:6:5", 1},
		{"no such value", conf("anonymity: loud"), "FILE:6:16", 1},
		{"no unit", conf("header_timeout: 10"), "FILE:6:21", 1},
		{"key twice", conf("allow_private: false"), "FILE:6:5", 1},
		{"open to all", conf("listen_all: true", "listen: [0.0.0.0:0]"), "FILE:", 1},
		{"address in use", strings.Replace(conf(), "[127.0.0.1:0]", "[127.0.0.1:0, \""+inUse+"\"]", 1), inUse, 2},
		{"admin in use", confWith("admin: {listen: \"" + inUse + "\"}\n"), inUse, 2},
		{"egress not ours", conf("egress: [127.0.3.1, 198.51.100.7]"), "198.51.100.7", 2},
		{"log not writable", strings.Replace(conf(), "access.log", "/nonexistent/dir/log", 1), "/nonexistent/dir/log", 2},
	}
}

func runIgnoresTwins(t *testing.T, _ *proxy) {
	env := []string{
		"VIADUCT_ANONYMITY=via", "VIADUCT_LISTEN=127.0.0.1:1", "VIADUCT_MAX_CONNS=1", "VIADUCT_EGRESS=198.51.100.7",
		"VIADUCT_ACCESS_LOG=/nonexistent/dir/log", "VIADUCT_HEADER_TIMEOUT=banana", "VIADUCT_ADMIN=nonsense",
	}
	p := launch{conf: conf(), env: env}.start(t)
	idle := dial(t, p)
	defer idle.conn.Close()
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").without(t, "Via")
	p.reload(t, conf("max_header: 32KiB"))
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").without(t, "Via")
}

// reloadHolds changes rules below clients that keep their connection, ask
// something slow, or have a tunnel.
func reloadHolds(t *testing.T, _ *proxy) {
	p := launch{conf: conf()}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	ask := func() *message { return c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer() }
	ask().want(t, 200, "fine")
	tunnel, _ := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	asked, release := make(chan struct{}, 1), make(chan struct{})
	slow, _ := stage(t, p, func(o *originConn) {
		o.head()
		asked <- struct{}{}
		<-release
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld")
		o.drain()
	})
	slow.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "the request at the origin", asked)

	p.reload(t, conf("anonymity: via"))
	ask().want(t, 200, "fine")
	if seen := o.seen(); seen[0].has("Via") || seen[1].get("Via") != "1.1 viaduct" {
		t.Errorf("the origin got %q and %q", seen[0].raw, seen[1].raw)
	}
	p.reload(t, strings.Replace(conf(), "allow_private: true", "allow_private: false", 1))
	ask().wantOwn(t, 403, "destination_ip_prohibited") // although a connection is kept
	dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantOwn(t, 403, "destination_ip_prohibited")
	p.reload(t, strings.Replace(conf(), "any", "443", 1))
	dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantOwn(t, 403, "http_request_denied")
	p.reload(t, conf("max_header: 8KiB"))
	ask().want(t, 200, "fine")
	big := dial(t, p)
	big.send("GET http://x/ HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 12<<10)+"\r\n\r\n").answer().wantOwn(t, 431, "http_request_error")
	tunnel.send("ping").read("ping")
	close(release)
	slow.answer().want(t, 200, "helloworld")
	slow.fill = o.places
	slow.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
}

func reloadListeners(t *testing.T, _ *proxy) {
	p := launch{conf: conf()}.start(t)
	stays, o := stage(t, p, says(ok("fine")))
	stays.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	second := conf() + "  - {listen: [127.0.0.2:0], allow_private: true, connect_ports: any, anonymity: via}\n"
	p.reload(t, second)
	poll(t, "another listener", func() bool { return len(p.listeners()) == 2 })
	q := p.at(p.listeners()[1])
	idle, asked, release := dial(t, q), make(chan struct{}, 1), make(chan struct{})
	idle.fill = o.places
	idle.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	if seen := o.seen(); seen[0].has("Via") || !seen[1].has("Via") {
		t.Error("the two doors have the same rules")
	}
	tunnel, _ := stage(t, q, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	busy, _ := stage(t, q, func(o *originConn) {
		o.head()
		asked <- struct{}{}
		<-release
		o.send(ok("late"))
		o.drain()
	})
	busy.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "the request at the origin", asked)

	p.reload(t, conf())
	q.deaf(t)
	idle.endsOrderly()
	close(release)
	busy.answer().want(t, 200, "late")
	busy.endsOrderly()
	tunnel.send("pong").read("pong")
	stays.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")

	p.reload(t, second) // and again
	poll(t, "the listener again", func() bool { return len(p.listeners()) == 3 })
	pass(t, p.at(p.listeners()[2]), "GET http://{O}/ HTTP/1.1", "Host: {O}")
	tunnel.send("pong").read("pong")
}

// reloadBackAndForth takes a door away and puts it back without a pause.
func reloadBackAndForth(t *testing.T, _ *proxy) {
	p := launch{conf: conf()}.start(t)
	at := freePort(t)
	web := newOrigin(t, says(ok("fine")))
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			var err error
			for !done(over) && (err == nil || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)) {
				err = getOnce(at, web.addr)
			}
			if !done(over) {
				t.Error(err)
			}
		})
	}
	defer clients.Wait()
	defer close(over)
	for range 10 {
		p.reload(t, conf()+"  - {listen: \""+at+"\", allow_private: true}\n")
		if err := getOnce(at, web.addr); err != nil {
			t.Error(err)
		}
		p.reload(t, conf())
	}
	p.at(at).deaf(t)
}

func done(over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

func reloadReordered(t *testing.T, _ *proxy) {
	const admin = "admin: {listen: 127.0.0.1:0}\n"
	p := launch{conf: confWith(admin)}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	ask := func() { t.Helper(); c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine") }
	counted := func(listen string) float64 {
		return p.metric(t, fmt.Sprintf(`viaduct_requests_total{code="2xx",listener="%s:0"}`, listen))
	}
	ask()
	first := "forward:\n  - {listen: [127.0.0.2:0], allow_private: true, anonymity: via}\n"
	p.reload(t, strings.Replace(confWith(admin), "forward:\n", first, 1))
	poll(t, "another listener", func() bool { return len(p.listeners()) == 2 })
	ask()
	if via := o.seen()[1].get("Via"); via != "" {
		t.Errorf("the rules of the new proxy hold for the old one: Via is %q", via)
	}
	c.conn.Close()
	fetch(t, p, o.addr).want(t, 200, "fine")
	if via := pass(t, p.at(p.listeners()[1]), "GET http://{O}/ HTTP/1.1", "Host: {O}").get("Via"); via == "" {
		t.Error("the new proxy has the rules of the old one")
	}
	if old, young := counted("127.0.0.1"), counted("127.0.0.2"); old != 3 || young != 1 {
		t.Errorf("three requests through the old proxy and one through the new one are counted %v and %v", old, young)
	}
}

func reloadBroken(t *testing.T, _ *proxy) {
	p := launch{conf: conf("anonymity: via")}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	tunnel, _ := stage(t, p, echo)
	tunnel.tunnel("{O}")
	inUse := newOrigin(t, echo)
	base := p.descriptors(t)
	for _, mistake := range mistakes(inUse.addr) {
		before := len(p.log())
		p.write(t, mistake.text)
		p.signal(t, syscall.SIGHUP)
		poll(t, mistake.name+" is told", func() bool { return strings.Contains(p.log()[before:], notTaken) })
		if told := p.log()[before:]; !strings.Contains(told, strings.ReplaceAll(mistake.says, "FILE", p.conf)) {
			t.Errorf("%s: standard error says %q, not %s", mistake.name, told, mistake.says)
		}
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		tunnel.send("ping").read("ping")
		fetch(t, p, o.addr).want(t, 200, "fine")
	}
	for _, r := range o.seen() {
		if r.get("Via") != "1.1 viaduct" {
			t.Errorf("the old rules do not go on: the origin got %q", r.raw)
		}
	}
	if p.says(taken) != 0 || len(p.listeners()) != 1 {
		t.Errorf("something was taken or opened:\n%s", p.log())
	}
	p.write(t, strings.Replace(conf(), "[127.0.0.1:0]", "[127.0.0.1:0, 127.0.0.2:0, \""+inUse.addr+"\"]", 1))
	for range 40 { // each time two sockets and the log are opened in vain
		before := p.says(notTaken)
		p.signal(t, syscall.SIGHUP)
		poll(t, "it is told again", func() bool { return p.says(notTaken) > before })
	}
	p.settles(t, base)
	p.reload(t, conf())
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").without(t, "Via")
}

func reloadAdmin(t *testing.T, _ *proxy) {
	const admin = "admin: {listen: 127.0.0.1:0}\n"
	p := launch{conf: confWith(admin)}.start(t)
	if p.metric(t, `viaduct_reloads_total{result="ok"}`) != 0 || p.metric(t, "viaduct_config_last_reload_successful") != 1 {
		t.Error("a start counts as a reload")
	}
	p.reload(t, confWith(admin, "anonymity: via"))
	p.write(t, "nonsense")
	p.signal(t, syscall.SIGHUP)
	poll(t, "the mistake is told", func() bool { return p.says(notTaken) == 1 })
	for series, want := range map[string]float64{
		`viaduct_reloads_total{result="ok"}`: 1, `viaduct_reloads_total{result="failed"}`: 1, "viaduct_config_last_reload_successful": 0,
	} {
		if got := p.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	first := adminOf.FindStringSubmatch(p.log())[1]
	p.reload(t, confWith("admin: {listen: 127.0.0.2:0}\n"))
	poll(t, "it has moved", func() bool { return len(adminOf.FindAllString(p.log(), -1)) == 2 })
	p.at(first).deaf(t)
	if got := p.metric(t, `viaduct_reloads_total{result="ok"}`); got != 2 {
		t.Errorf("%v reloads, want 2", got)
	}
	last := adminOf.FindAllStringSubmatch(p.log(), -1)[1][1]
	p.reload(t, conf())
	p.at(last).deaf(t)
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
}

func reloadFlags(t *testing.T, _ *proxy) {
	p := start(t, "--anonymity", "via")
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	p.signal(t, syscall.SIGHUP)
	poll(t, "the flags are taken again", func() bool { return p.says(taken) == 1 })
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	if via := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").get("Via"); via != "1.1 viaduct" {
		t.Errorf("Via is %q", via)
	}
}

// observes polls until the origin sees requests with this Via.
func (p *proxy) observes(t *testing.T, via string) {
	t.Helper()
	c, o := stage(t, p, says(ok("fine")))
	poll(t, fmt.Sprintf("requests have Via %q", via), func() bool {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		seen := o.seen()
		return seen[len(seen)-1].get("Via") == via
	})
}

const watching = "watch: true\n"

func watchFile(t *testing.T, _ *proxy) {
	p := launch{conf: confWith(watching)}.start(t)
	p.observes(t, "")
	p.write(t, confWith(watching, "anonymity: via"))
	p.observes(t, "1.1 viaduct")
	if err := os.WriteFile(p.conf, []byte(confWith(watching, "anonymity: strict # as before")), 0o600); err != nil {
		t.Fatal(err)
	}
	p.observes(t, "")
}

func watchAtOnce(t *testing.T, _ *proxy) {
	for n := range 6 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			p := launch{conf: confWith(watching)}.start(t)
			p.write(t, confWith(watching, "anonymity: via"))
			p.observes(t, "1.1 viaduct")
		})
	}
}

// watchLink swaps a folder of files below a link, by renaming another link over
// it: viaduct.yaml -> ..data/viaduct.yaml, ..data -> ..1.
func watchLink(t *testing.T, _ *proxy) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "viaduct.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(dir, "..next")
		if err := os.Symlink(name, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", confWith(watching))
	file := filepath.Join(dir, "viaduct.yaml")
	if err := os.Symlink("..data/viaduct.yaml", file); err != nil {
		t.Fatal(err)
	}
	p := launch{args: []string{"run", "-c", file}}.start(t)
	p.observes(t, "")
	version("..2", confWith(watching, "anonymity: via"))
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	p.observes(t, "1.1 viaduct")
	version("..3", confWith(watching))
	p.observes(t, "")
}

func watchMended(t *testing.T, _ *proxy) {
	p := launch{conf: confWith(watching)}.start(t)
	p.observes(t, "")
	p.write(t, confWith(watching, "anonymity: loud"))
	poll(t, "the mistake is told", func() bool { return p.says(notTaken) == 1 })
	p.observes(t, "")
	if err := os.Remove(p.conf); err != nil { // some editors do, for a moment
		t.Fatal(err)
	}
	p.observes(t, "")
	p.write(t, confWith(watching, "anonymity: via"))
	p.observes(t, "1.1 viaduct")
	if n := p.says(notTaken); n > 2 {
		t.Errorf("told %d times:\n%s", n, p.log())
	}
}

func notWatched(t *testing.T, _ *proxy) {
	p := launch{conf: conf()}.start(t)
	p.write(t, conf("anonymity: via"))
	if eventually(2*time.Second, func() bool { return p.says(taken) > 0 }) {
		t.Error("the file was taken")
	}
	p.observes(t, "")
	p.signal(t, syscall.SIGHUP)
	p.observes(t, "1.1 viaduct")
}

func readinessRed(t *testing.T, _ *proxy) {
	p := launch{conf: confWith("admin: {listen: 127.0.0.1:0}\n", "drain_grace: 3s")}.start(t)
	c, o := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	p.admin(t, "/readyz").want(t, 200, "ready\n")
	p.signal(t, syscall.SIGTERM)
	poll(t, "readiness is red", func() bool { return p.admin(t, "/readyz").status() == 503 })
	if conn, err := net.Dial("tcp", p.addr); err != nil {
		t.Errorf("within the grace: %v", err)
	} else {
		conn.Close()
	}
	fetch(t, p, newOrigin(t, says(ok("fine"))).addr).want(t, 200, "fine")
	p.deaf(t)
	if m := p.admin(t, "/readyz"); m.status() != 503 {
		t.Errorf("while it drains: %q", m.raw)
	}
	p.admin(t, "/healthz").want(t, 200, "ok\n")
	if n := p.metric(t, `viaduct_tunnels{listener="127.0.0.1:0"}`); n != 1 {
		t.Errorf("%v tunnels", n)
	}
	c.send("ping").read("ping")
	c.conn.Close()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func drainCutsExchange(t *testing.T, _ *proxy) {
	p := start(t, "--drain-timeout", "1s")
	half := make(chan struct{}, 1)
	started, o := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		half <- struct{}{}
		o.drain()
	})
	started.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	waits, silent := stage(t, p, func(o *originConn) {
		o.head()
		half <- struct{}{}
		o.drain()
	})
	waits.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "one request", half)
	receive(t, "the other request", half)
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if m, err := readAnswer(started.hurry().in, "GET"); err == nil && m.err == nil {
		t.Errorf("half an answer looks whole: %q %q", m.raw, m.body)
	}
	if rest, err := waits.rest(); timed(err) || strings.HasPrefix(rest, "HTTP/1.1 2") {
		t.Errorf("without an answer: %q, %v", rest, err)
	}
	poll(t, "the origins' sides are closed", func() bool { return o.open()+silent.open() == 0 })
}

func drainAfterReload(t *testing.T, _ *proxy) {
	for name, want := range map[string]int{"ends": 0, "stays": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch{conf: conf() + "  - {listen: [127.0.0.2:0], allow_private: true, connect_ports: any, drain_timeout: 2s}\n"}.start(t)
			poll(t, "two listeners", func() bool { return len(p.listeners()) == 2 })
			q := p.at(p.listeners()[1])
			c, _ := stage(t, q, echo)
			c.tunnel("{O}").send("ping").read("ping")
			p.reload(t, conf())
			q.deaf(t)
			p.signal(t, syscall.SIGTERM)
			p.deaf(t)
			c.send("ping").read("ping")
			if p.over() {
				t.Error("it did not wait for the tunnel")
			}
			if want == 0 {
				c.closeWrite()
				c.endsOrderly()
			}
			if code := p.wait(t); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
}

func hupWhileDraining(t *testing.T, _ *proxy) {
	p := launch{conf: conf()}.start(t)
	c, _ := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	p.write(t, conf()+"  - {listen: [127.0.0.2:0]}\n")
	p.signal(t, syscall.SIGHUP)
	for range 20 {
		c.send("ping").read("ping")
		pause(10 * time.Millisecond)
	}
	c.closeWrite()
	c.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if len(p.listeners()) != 1 {
		t.Errorf("a listener was opened while draining:\n%s", p.log())
	}
}

func killedAndBack(t *testing.T, _ *proxy) {
	at := freePort(t)
	args := []string{"forward", "--listen", at, "--allow-private", "--connect-ports", "any", "--access-log", "off"}
	p := launch{args: args}.start(t)
	e := newOrigin(t, echo)
	for n := range 40 {
		c := dial(t, p) // its connection is in some state when the process dies
		switch c.fill = e.places; n % 4 {
		case 0:
			c.tunnel("{O}").send("ping").read("ping")
		case 1:
			c.tunnel("{O}").closeWrite()
		case 2:
			fetch(t, p, newOrigin(t, sayOnce("fine")).addr).want(t, 200, "fine")
		}
	}
	p.signal(t, syscall.SIGKILL)
	receive(t, "the end", p.ended)
	o := newOrigin(t, says(ok("fine")))
	began := time.Now()
	launch{args: args}.start(t)
	if err := getOnce(at, o.addr); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second && !raced() {
		t.Errorf("%v until it served again", took)
	}
}
