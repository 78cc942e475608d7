package probe_test

import (
	"net"
	"strings"
	"testing"

	"viaduct/probe"
)

func TestAgentLines(t *testing.T) {
	for _, tt := range []struct {
		line          string
		word          probe.Word
		weight, limit int
		note, err     string
	}{
		{"up", probe.SaysUp, -1, -1, "up", ""},
		{"down", probe.SaysDown, -1, -1, "down", "the agent says down"},
		{"fail", probe.SaysDown, -1, -1, "fail", "the agent says fail"},
		{"stopped", probe.SaysStopped, -1, -1, "stopped", "the agent says stopped"},
		{"drain", probe.SaysDrain, -1, -1, "drain", ""},
		{"maint", probe.SaysMaint, -1, -1, "maint", ""},
		{"ready", probe.SaysReady, -1, -1, "ready", ""},
		{"75%", probe.NoWord, 75, -1, "75%", ""},
		{"0%", probe.NoWord, 0, -1, "0%", ""},
		{"maxconn:30", probe.NoWord, -1, 30, "maxconn:30", ""},
		{"maxconn:0", probe.NoWord, -1, 0, "maxconn:0", ""},
		{"UP READY 50% MaxConn:7", probe.SaysReady, 50, 7, "UP READY 50% MaxConn:7", ""},
		{"up,ready,\t50%,,maxconn:7 ", probe.SaysReady, 50, 7, "up,ready,?50%,,maxconn:7", ""},
		{"drain up", probe.SaysDrain, -1, -1, "drain up", ""},
		{"up down", probe.SaysDown, -1, -1, "up down", "the agent says up down"},
		{"maint up 10%", probe.SaysMaint, 10, -1, "maint up 10%", ""},
		{"down#disk is full, drain", probe.SaysDown, -1, -1, "down: disk is full, drain", "the agent says down: disk is full, drain"},
		{"up mood:good", probe.SaysUp, -1, -1, "up mood:good; ignored mood:good", ""},
		{"10% 20%", probe.NoWord, 20, -1, "10% 20%", ""},
		{"", probe.NoWord, -1, -1, "", `says ""`},
		{"# up", probe.NoWord, -1, -1, "", "none of up"},
		{" , ,", probe.NoWord, -1, -1, "", "none of up"},
		{"upp", probe.NoWord, -1, -1, "", "none of up"},
		{"-5%", probe.NoWord, -1, -1, "", "none of up"},
		{"+5%", probe.NoWord, -1, -1, "", "none of up"},
		{"%", probe.NoWord, -1, -1, "", "none of up"},
		{"99999%", probe.NoWord, -1, -1, "", "none of up"},
		{"99999999999999999999%", probe.NoWord, -1, -1, "", "none of up"},
		{"maxconn:", probe.NoWord, -1, -1, "", "none of up"},
		{"maxconn:-1", probe.NoWord, -1, -1, "", "none of up"},
		{"SSH-2.0-\x1b[2J", probe.NoWord, -1, -1, "", `says "SSH-2.0-\x1b[2J"`},
	} {
		want(t, tt.line, probe.ReadLine(tt.line), probe.Result{Word: tt.word, Weight: tt.weight, Limit: tt.limit, Note: tt.note}, tt.err)
	}
}

func TestAgentJSON(t *testing.T) {
	for _, tt := range []struct {
		json          string
		word          probe.Word
		weight, limit int
		note, err     string
	}{
		{`{"state":"drain","weight":75,"maxconn":30}`, probe.SaysDrain, 75, 30, "drain; weight 75%; maxconn 30", ""},
		{`{"state":"up"}`, probe.SaysUp, -1, -1, "up", ""},
		{`{"state":"ready, up", "load": [1, 2]}`, probe.SaysReady, -1, -1, "ready, up", ""},
		{`{"state":"down"}`, probe.SaysDown, -1, -1, "down", "the agent says down"},
		{`{"state":"stopped#why","weight":0}`, probe.SaysStopped, 0, -1, "stopped: why; weight 0%", "the agent says stopped: why"},
		{`{"weight":150}`, probe.NoWord, 150, -1, "weight 150%", ""},
		{` {"maxconn":0} `, probe.NoWord, -1, 0, "maxconn 0", ""},
		{`{"state":"mad"}`, probe.NoWord, -1, -1, "", `says "mad"`},
		{`{"state":""}`, probe.NoWord, -1, -1, "", `says ""`},
		{`{"state":7}`, probe.NoWord, -1, -1, "", "not as expected"},
		{`{"weight":-1}`, probe.NoWord, -1, -1, "", "weight -1"},
		{`{"weight":0.5}`, probe.NoWord, -1, -1, "", "not as expected"},
		{`{"weight":1e99}`, probe.NoWord, -1, -1, "", "not as expected"},
		{`{"maxconn":-1}`, probe.NoWord, -1, -1, "", "maxconn -1"},
		{`{}`, probe.NoWord, -1, -1, "", "says nothing"},
		{`null`, probe.NoWord, -1, -1, "", "says nothing"},
		{`[]`, probe.NoWord, -1, -1, "", "not as expected"},
		{`up`, probe.NoWord, -1, -1, "", "not as expected"},
		{`{"state":"up"} {"state":"down"}`, probe.NoWord, -1, -1, "", "not as expected"},
		{strings.Repeat("[", 4096), probe.NoWord, -1, -1, "", "not as expected"},
	} {
		want(t, tt.json, probe.ReadJSON(tt.json), probe.Result{Word: tt.word, Weight: tt.weight, Limit: tt.limit, Note: tt.note}, tt.err)
	}
}

func want(t *testing.T, what string, got, want probe.Result, text string) {
	t.Helper()
	if text == "" && got.Err != nil || text != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), text)) {
		t.Errorf("%q: error %v, want one with %q", what, got.Err, text)
	}
	got.Err = nil
	if got != want {
		t.Errorf("%q: %+v, want %+v", what, got, want)
	}
}

func TestAgentOverTCP(t *testing.T) {
	agent := probe.Check{Kind: probe.Agent, Send: "load?\n"}
	for _, tt := range []struct {
		name string
		play func(net.Conn)
		want string
	}{
		{"line", say("up 75%\n"), ""},
		{"line of its own", say("up 75%\r\ndown\r\n"), ""},
		{"no end of line", say("up 75%"), ""},
		{"stays open", func(nc net.Conn) { request(nc); nc.Write([]byte("up 75%\n")); hang(nc) }, ""},
		{"dripped", drip("up 75%\n"), ""},
		{"longest", say("up 75% #" + strings.Repeat("x", 4096-9) + "\n"), ""},
		{"too long", say("up 75% #" + strings.Repeat("x", 4096-8) + "\n"), "no end within 4096 bytes"},
		{"gigabytes", endless("", "up 75% "), "no end within 4096 bytes"},
		{"nothing", say(""), `says ""`},
		{"an empty line", say("\nup 75%\n"), `says ""`},
		{"reset", reset, "reset by peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, agent, peer(t, tt.play))
			if tt.want != "" {
				fails(t, r, tt.want)
				if r.Word != probe.NoWord || r.Weight != -1 {
					t.Errorf("says %+v", r)
				}
				return
			}
			passes(t, r)
			if r.Word != probe.SaysUp || r.Weight != 75 || len(r.Note) > 220 {
				t.Errorf("says %+v", r)
			}
		})
	}
	half := peer(t, func(nc net.Conn) { nc.Write([]byte("up")); hang(nc) })
	late(t, runFor(t, short, agent, probe.Endpoint{Addr: half}))
}

func TestAgentOverHTTP(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"says", "HTTP/1.1 200 OK\r\n\r\n{\"state\":\"drain\"}", ""},
		{"other status", "HTTP/1.1 503 No\r\n\r\n{\"state\":\"drain\"}", "status 503"},
		{"redirect", "HTTP/1.1 302 No\r\nLocation: /\r\n\r\n", "status 302"},
		{"too long", "HTTP/1.1 200 OK\r\n\r\n{\"state\":\"drain\"}" + strings.Repeat(" ", 4096), "more than 4096 bytes"},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"state\":\"drain\"}", "unexpected EOF"},
		{"no JSON", "HTTP/1.1 200 OK\r\n\r\ndrain", "not as expected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, probe.Check{Kind: probe.Agent, Path: "/state"}, peer(t, say(tt.answer)))
			if tt.want != "" {
				fails(t, r, tt.want)
				return
			}
			passes(t, r)
			if r.Word != probe.SaysDrain {
				t.Errorf("says %+v", r)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for w := probe.SaysUp; w <= probe.SaysMaint; w++ {
		if r := probe.ReadLine(w.String()); r.Word != w {
			t.Errorf("%q is read as %q", w, r.Word)
		}
	}
	if s := probe.NoWord.String(); s != "" {
		t.Errorf("no word is %q", s)
	}
}
