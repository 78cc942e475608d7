package accesslog_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"viaduct/accesslog"
)

// FuzzEntry: whatever a client sends, a line is a line, has its fields, and
// tells what was so.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("GET"), []byte("http://example.com/?a"), "forward[0].rules[2]", "joe", []byte("https://a:b@c/d?e"), []byte("curl/8"), 200, byte(1), int64(5), int64(7), int64(1e9))
	f.Add([]byte("\"\\\r\n"), []byte("\x00\x7f\xff\u2028"), "my \"rule\"\n", "-", []byte("-"), []byte("-"), -1, byte(0), int64(-1), int64(-1), int64(-1))
	f.Add([]byte(nil), []byte("http://a:b@c/d"), "", "", []byte(nil), []byte(nil), 0, byte(2), int64(0), int64(0), int64(0))
	f.Add([]byte("CONNECT"), []byte("a b:443"), "", "a%20b \"", []byte("\\x41"), []byte("\" \"-\"\n1.2.3.4 - -"), 407, byte(3), int64(9), int64(9), int64(9))
	f.Fuzz(func(t *testing.T, method, target []byte, rule, user string, referer, agent []byte, status int, small byte, received, sent, nanos int64) {
		client := netip.MustParseAddr("fe80::1").WithZone(rule)
		e := &accesslog.Entry{
			Time: time.Unix(1e9, nanos%1e15), Mode: "forward", Client: netip.AddrPortFrom(client, 1), User: user,
			Method: method, Target: target, Minor: small, Tries: int(small % 2), Status: status, Fault: rule, Rule: rule, Cause: user,
			Decision: []string{"", "allow", "deny", "observe"}[small%4], Phase: user, SNI: string(agent),
			Received: received, Sent: sent, First: time.Duration(nanos), Total: time.Duration(received),
			Ended: accesslog.End(small), Referer: referer, Agent: agent,
		}
		logged := checkJSON(t, e)
		checkSquid(t, e, logged)
		checkCombined(t, e, logged)
	})
}

// checkJSON returns what is logged of the target.
func checkJSON(t *testing.T, e *accesslog.Entry) string {
	v := read(t, lineOf(t, e, accesslog.JSON))
	logged := latin1(t, v["target"])
	checkTarget(t, string(e.Target), logged)
	if got := latin1(t, v["method"]); got != most(string(e.Method), 128) {
		t.Errorf("method %q of %q", got, e.Method)
	}
	for key, want := range map[string]string{"user": most(e.User, 128), "error": most(e.Cause, 512), "rule": most(e.Rule, 128), "fault": e.Fault, "decision": e.Decision, "phase": e.Phase, "sni": most(e.SNI, 256), "ended_by": e.Ended.String()} {
		got, there := v[key]
		if there != (want != "") || there && latin1(t, got) != want {
			t.Errorf("%s %q, want %q", key, got, want)
		}
	}
	if v["status"] != json.Number(fmt.Sprint(e.Status)) || v["bytes_sent"] != json.Number(fmt.Sprint(e.Sent)) {
		t.Errorf("%v is not what was told", v)
	}
	return logged
}

func most(s string, n int) string { return s[:min(len(s), n)] }

// checkTarget holds that what is logged is what was there, without its query,
// but for one piece that ends in an at sign, and without user and password.
func checkTarget(t *testing.T, target, logged string) {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	if len(logged) > 2048 {
		t.Errorf("%d bytes of a target", len(logged))
	}
	cut := len(target) - len(logged)
	fits := strings.HasPrefix(target, logged) && (cut == 0 || len(logged) == 2048)
	for i := range len(target) {
		if fits {
			break
		}
		if target[i] == '@' {
			scheme := strings.Index(target, "://") + 3
			for _, from := range []int{0, scheme} {
				fits = fits || from <= i && most(target[:from]+target[i+1:], 2048) == logged
			}
		}
	}
	if !fits {
		t.Errorf("logged %q of %q", logged, target)
	}
	if u, err := url.Parse(target); err == nil && u.User != nil && u.Scheme != "" && len(logged) < 2048 {
		if v, err := url.Parse(logged); err != nil || v.User != nil || v.Host != u.Host {
			t.Errorf("logged %q of %q", logged, target)
		}
	}
}

var (
	wordForm    = regexp.MustCompile(`^(TCP_MISS|TCP_TUNNEL|TCP_DENIED|NONE_NONE)(_TIMEOUT|_ABORTED)?$`)
	percentForm = regexp.MustCompile(`%[0-9A-F]{2}`)
)

func checkSquid(t *testing.T, e *accesslog.Entry, target string) {
	l := readSquid(t, lineOf(t, e, accesslog.Squid))
	if !wordForm.MatchString(l.result) || l.status != fmt.Sprintf("%03d", max(e.Status, 0)) || l.sent != max(e.Sent, 0) {
		t.Errorf("%+v", l)
	}
	if denied := strings.HasPrefix(l.result, "TCP_DENIED"); e.Decision == "deny" && !denied {
		t.Errorf("%s of what was denied", l.result)
	}
	if l.client != "fe80::1" || l.way != "HIER_NONE" || l.peer != "" || l.mediaType != "" {
		t.Errorf("%+v", l)
	}
	if l.took != max(e.Total, 0).Truncate(time.Millisecond) || l.end.UnixMilli() != max(e.Time.Add(max(e.Total, 0)).UnixMilli(), 0) {
		t.Errorf("%+v", l)
	}
	if want := percent(most(string(e.Method), 128), ""); l.method != want {
		t.Errorf("method %q, want %q", l.method, want)
	}
	if want := percent(target, ""); l.target != want {
		t.Errorf("target %q, want %q", l.target, want)
	}
	user := most(e.User, 128)
	if want := percent(user, "%"); l.user != want {
		t.Errorf("user %q, want %q", l.user, want)
	}
	if back := percentForm.ReplaceAllStringFunc(l.user, func(s string) string {
		var c []byte
		_, _ = fmt.Sscanf(s, "%%%02x", &c)
		return string(c)
	}); back != user {
		t.Errorf("user %q, want %q", back, user)
	}
}

// percent escapes as the lines of squid do, with one more sign.
func percent(s, sign string) string {
	if s == "-" {
		return "%2D"
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.ContainsRune(`"\`+sign, rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func checkCombined(t *testing.T, e *accesslog.Entry, target string) {
	l := readCombined(t, lineOf(t, e, accesslog.Combined))
	referer := l.referer
	checkTarget(t, string(e.Referer), referer)
	l.referer = ""
	want := combinedLine{
		client: "fe80::1", user: most(e.User, 128), time: e.Time.UTC().Format("02/Jan/2006:15:04:05 +0000"),
		method: most(string(e.Method), 128), target: target, version: fmt.Sprint(e.Minor),
		status: fmt.Sprintf("%03d", max(e.Status, 0)), agent: most(string(e.Agent), 512),
	}
	if len(e.Method) == 0 && len(e.Target) == 0 {
		want.version = ""
	}
	if e.Sent > 0 {
		want.sent = fmt.Sprint(e.Sent)
	}
	if l != want {
		t.Errorf("got  %+q\nwant %+q", l, want)
	}
}
