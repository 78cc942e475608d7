package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var listRows = []row{
	{"product-2/list-forms", "–", "A list of hosts in plain, hosts-file and Adblock form, all in one file, with comments, CRLF and a byte order mark; lists for other terms. How many names are known and how many lines are not is counted.", own, listForms},
	{"product-2/list-changes", "T69", "A list that changes is read again within seconds, without a signal, and without a request failing.", own, listChanges},
	{"product-2/list-half-written", "T69", "While a list is being written the old one holds; one that is empty or is gone changes nothing, and standard error says so.", own, listHalfWritten},
}

// startLists runs a lenient proxy from a file, whose every name is the loopback.
func startLists(t *testing.T, rules ...string) (*proxy, *origin) {
	t.Helper()
	s := newNames(t, always("127.0.0.1"))
	text := confWith("admin: {listen: 127.0.0.1:0}\n", append([]string{"resolver: [\"" + s.addr + "\"]", "rules:"}, rules...)...)
	return launch{conf: text}.start(t), newOrigin(t, says(ok("fine")))
}

// statusOf is the answer to a request of one's own.
func (p *proxy) statusOf(t testing.TB, host string) int {
	return dial(t, p).ask("GET http://"+host+"/ HTTP/1.1", "Host: x", "Connection: close").answer().status()
}

const mixedList = "\xef\xbb\xbf# a list, as they come\r\n" +
	"\r\nplain.test\r\n  PLAIN2.Test. \r\n.below.test\n*.only.test # why\nwww.\u00fcber.test\n192.0.2.7\n[2001:db8::7]\n" +
	"! Title: of another form\n0.0.0.0 hosts1.test HOSTS2.test # two\n127.0.0.1\tlocalhost hosts3.test\n::1 ip6-localhost ip6-loopback\n:: hosts4.test\n255.255.255.255 broadcasthost\n" +
	"[Adblock Plus 2.0]\n||adblock.test^\n||important.test^$important\n||all.test^$all,document\n||narrow.test^$third-party\n@@||exception.test^\n##.banner\nexample.test##.ad\n/regex[0-9]+/\n||half.test/path^\n" +
	"two words.test\nhttp://url.test/\n"

func listForms(t *testing.T, _ *proxy) {
	dir := t.TempDir()
	for name, text := range map[string]string{"hosts": mixedList, "ports": "# some\n1\n8000-8999\n\n", "addrs": "127.0.0.9\n10.0.0.0/8\n", "paths": "/secret # not a comment\n/admin\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, o := startLists(t, "  - {name: hosts, deny: {host: [\"@"+dir+"/hosts\", inline.test]}}", "  - {name: ports, deny: {port: \"@"+dir+"/ports\"}}",
		"  - {name: addrs, deny: {addr: [\"@"+dir+"/addrs\"]}}", "  - {name: paths, deny: {path: [\"@"+dir+"/paths\"]}}")
	for _, host := range []string{
		"plain.test", "Plain.TEST.", "plain2.test", "below.test", "a.b.below.test", "x.only.test", "www.xn--ber-goa.test", "192.0.2.7", "[::ffff:192.0.2.7]", "[2001:db8:0::7]", "hosts1.test", "hosts2.test", "hosts3.test", "hosts4.test",
		"adblock.test", "www.adblock.test", "important.test", "x.all.test", "inline.test",
	} {
		if m := fetch(t, p, host+":"+o.port); m.details() != `"rule hosts"` {
			t.Errorf("%s: got %q %s", host, m.line, m.details())
		}
	}
	for _, host := range []string{"www.plain.test", "only.test", "xn--ber-goa.test", "www.hosts1.test", "localhost", "ip6-localhost", "ip6-loopback", "broadcasthost", "narrow.test", "exception.test", "example.test", "half.test", "words.test", "two.test", "url.test", "why.test", "adblock.tes"} {
		if m := fetch(t, p, host+":"+o.port); m.status() != 200 {
			t.Errorf("%s: got %q %s", host, m.line, m.details())
		}
	}
	for target, rule := range map[string]string{"a.test:1/": "ports", "a.test:8080/": "ports", "127.0.0.9:" + o.port + "/": "addrs", "10.1.1.1:9/": "addrs", "a.test:" + o.port + "/admin/x": "paths"} {
		dial(t, p).ask("GET http://"+target+" HTTP/1.1", "Host: x").answer().wantDenied(t, rule)
	}
	if n := p.metric(t, `viaduct_list_names{file="`+dir+`/hosts"}`); n != 14 {
		t.Errorf("%v names in the list, want 14", n)
	}
	if n := p.metric(t, `viaduct_list_lines_skipped{file="`+dir+`/hosts"}`); n != 7 { // ##.banner reads as a comment
		t.Errorf("%v lines of the list are skipped, want 7", n)
	}
}

func listChanges(t *testing.T, _ *proxy) {
	file := saved(t, "old.test\n")
	p, o := startLists(t, "  - {name: list, deny: {host: [\"@"+file+"\"]}}")
	kept, web := stage(t, p, says(ok("fine")))
	for n := range 3 {
		name := fmt.Sprintf("new%d.test", n)
		kept.ask("GET http://"+name+":{P}/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
		if n%2 == 0 { // in one go, or in place
			replaceFile(t, file, "old.test\n"+name+"\n")
		} else if err := appendTo(file, name+"\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		poll(t, name+" is denied", func() bool {
			m := kept.ask("GET http://"+name+":{P}/ HTTP/1.1", "Host: x").answer()
			kept.ask("GET http://old.test:{P}/ HTTP/1.1", "Host: x").answer().wantDenied(t, "list")
			return m.status() == 403
		})
		t.Logf("%v after the list had changed", time.Since(began))
	}
	if p.statusOf(t, "new0.test:"+o.port) != 200 {
		t.Error("a name that was taken out is denied")
	}
	if len(web.seen()) < 3 || p.says("changed files are taken") != 3 {
		t.Errorf("%d requests at the origin; standard error says\n%s", len(web.seen()), p.log())
	}
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func listHalfWritten(t *testing.T, _ *proxy) {
	file := saved(t, "old.test\n")
	p, o := startLists(t, "  - {name: list, deny: {host: [\"@"+file+"\"]}}")
	if err := os.WriteFile(file, nil, 0o600); err != nil { // and now line by line
		t.Fatal(err)
	}
	for n := range 60 {
		if err := appendTo(file, fmt.Sprintf("filler%d.test\n", n)); err != nil {
			t.Fatal(err)
		}
		if status := p.statusOf(t, "old.test:"+o.port); status != 403 {
			t.Fatalf("after %d lines of the new list the old one does not hold: %d", n, status)
		}
		pause(50 * time.Millisecond)
	}
	if err := appendTo(file, "old.test\nnew.test\n"); err != nil {
		t.Fatal(err)
	}
	poll(t, "the new list", func() bool { return p.statusOf(t, "new.test:"+o.port) == 403 })
	for what, change := range map[string]func() error{
		"empty":   func() error { return os.WriteFile(file, nil, 0o600) },
		"garbage": func() error { return os.WriteFile(file, []byte("\x00\x01\x02 !!\n"), 0o600) },
		"gone":    func() error { return os.Remove(file) },
	} {
		said := len(p.log())
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if !eventually(patience, func() bool { return strings.Contains(p.log()[said:], file) }) {
			t.Errorf("%s: standard error does not tell of the list: %q", what, p.log()[said:])
		}
		if p.statusOf(t, "new.test:"+o.port) != 403 || p.statusOf(t, "other.test:"+o.port) != 200 {
			t.Errorf("%s: the old list does not hold", what)
		}
		replaceFile(t, file, "old.test\nnew.test\n"+what+".test\n")
		poll(t, "the list is there again", func() bool { return p.statusOf(t, what+".test:"+o.port) == 403 })
	}
}

// millionNames starts with a list of a million names, and has it read again
// twice, under requests and tunnels.
func millionNames(t *testing.T, _ *proxy) {
	var list bytes.Buffer
	const names = 1_000_000
	for n := range names {
		fmt.Fprintf(&list, "host%d.list%d.blocked.example\n", n, n%977)
	}
	file := saved(t, list.String())
	began := time.Now()
	p, o := startLists(t, "  - {name: list, deny: {host: [\"@"+file+"\"]}}")
	t.Logf("%v to start, %d MiB in memory", time.Since(began), p.resident(t)>>20)
	web, far := newOrigin(t, says(ok("fine"))), newOrigin(t, echo)
	f := &traffic{proxy: p.addr, web: web.addr, echo: far.addr}
	f.begin(t, 20)
	slowest := make(chan time.Duration, 1)
	over := make(chan struct{})
	go func() { slowest <- slowestOf(t, p.addr, web.addr, over) }()
	for n, name := range []string{"one.example", "two.example"} {
		for i := 0; i < names; i += names / 20 {
			if p.statusOf(t, fmt.Sprintf("host%d.list%d.blocked.example:%s", i, i%977, o.port)) != 403 || p.statusOf(t, fmt.Sprintf("host%d.list%d.blocked.example:%s", i, i%977+1, o.port)) != 200 {
				t.Fatalf("name %d is not decided as the list says", i)
			}
		}
		if p.statusOf(t, name+":"+o.port) != 200 {
			t.Fatalf("%s is denied", name)
		}
		if err := appendTo(file, name+"\n"); err != nil {
			t.Fatal(err)
		}
		changed := time.Now()
		poll(t, name+" is denied", func() bool { return p.statusOf(t, name+":"+o.port) == 403 })
		t.Logf("%v after change %d", time.Since(changed), n)
		f.goesOn(t, 250)
	}
	close(over)
	if longest := receive(t, "the slowest request", slowest); longest > time.Second && !raced() {
		t.Errorf("a request took %v while the list was read", longest)
	} else {
		t.Logf("the slowest request took %v", longest)
	}
	f.end(t)
	t.Logf("%d MiB in memory", p.resident(t)>>20)
}

// slowestOf asks again and again until it is over, and tells how long the slowest
// answer took.
func slowestOf(t *testing.T, proxy, target string, over <-chan struct{}) (slowest time.Duration) {
	k := &keeper{proxy: proxy}
	defer k.close()
	for !done(over) {
		began := time.Now()
		if err := k.get(target); err != nil {
			t.Error(err)
			return 0
		}
		slowest = max(slowest, time.Since(began))
		pause(5 * time.Millisecond)
	}
	return slowest
}
