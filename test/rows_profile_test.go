package test

import (
	"strings"
	"testing"
)

var profileRows = []row{
	{"9110-7.6.3/strict", "T15", "By default the origin sees nothing of a proxy, whatever the client sends: no Via, Forwarded, X-Forwarded-*, X-Real-IP, Client-IP, Proxy-*.", "", strict},
	{"9110-7.6.3/strict-family", "T16", "The relatives go too: X-Client-IP, X-Cluster-Client-IP, True-Client-IP, and any letter case.", "", strictFamily},
	{"9110-7.6.3/strict-answer", "T15", "By default an answer gets no Via either.", "", strictAnswer},
	{"9110-7.6.3/via", "T15, T16", "`--anonymity via`: the Via that came is kept and `1.1 viaduct` appended; the rest as strict.", "via", viaProfile},
	{"9110-7.6.3/via-http10", "T15", "`--anonymity via`: an HTTP/1.0 request was received as 1.0 and Via says so.", "via", viaHTTP10},
	{"7239-4/transparent", "T15", "`--anonymity transparent`: Via, Forwarded and X-Forwarded-For tell of the client, after what already stood there.", "transparent", transparent},
}

var tellTale = []string{
	"Via: 1.1 inner.example", "X-Forwarded-For: 10.1.2.3", "X-Forwarded-Host: inner", "X-Forwarded-Proto: http", "X-Forwarded-Port: 81",
	"X-Forwarded-Server: inner", "X-forwarded-anything: 1", "Forwarded: for=10.1.2.3", "X-Real-IP: 10.1.2.3", "Client-IP: 10.1.2.3",
	"Proxy-Connection: keep-alive", "Proxy-Anything: 1",
}

func strict(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}", "X-Kept: 1"}, tellTale...)...)
	c.answer().want(t, 200, "fine")
	if got, want := o.seen()[0].raw, o.places(lines("GET / HTTP/1.1", "Host: {O}", "X-Kept: 1")); got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
}

func strictFamily(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "X-Client-IP: 10.1.2.3", "X-Cluster-Client-IP: 10.1.2.3", "True-Client-IP: 10.1.2.3",
		"vIA: 1.0 x", "x-FORWARDED-for: 10.1.2.3", "FORWARDED: for=10.1.2.3", "x-real-ip: 10.1.2.3", "client-ip: 10.1.2.3").
		without(t, "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "Via", "X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP")
}

func strictAnswer(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	m.want(t, 200, "fine")
	m.without(t, "Via", "Proxy-Status", "Date", "Server", "X-Cache")
}

func viaProfile(t *testing.T, p *proxy) {
	got := pass(t, p, append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}", "X-Kept: 1", "Via: 1.0 first"}, tellTale...)...)
	via := strings.Split(strings.Join(got.all("Via"), ","), ",")
	if n := len(via); n != 3 || strings.TrimSpace(via[n-1]) != "1.1 viaduct" || !strings.HasPrefix(via[0], "1.0 ") {
		t.Errorf("Via is %q", got.all("Via"))
	}
	got.without(t, "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything", "X-Real-IP", "Client-IP", "Proxy-Anything")
	if via := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").get("Via"); via != "1.1 viaduct" {
		t.Errorf("Via is %q", via)
	}
}

func viaHTTP10(t *testing.T, p *proxy) {
	if via := pass(t, p, "GET http://{O}/ HTTP/1.0").get("Via"); via != "1.0 viaduct" {
		t.Errorf("Via is %q", via)
	}
}

func transparent(t *testing.T, p *proxy) {
	got := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "X-Forwarded-For: 10.1.2.3", "Forwarded: for=10.1.2.3")
	if all := strings.Join(got.all("X-Forwarded-For"), ", "); all != "10.1.2.3, 127.0.0.1" {
		t.Errorf("X-Forwarded-For is %q", all)
	}
	if all := strings.Join(got.all("Forwarded"), ", "); !strings.HasPrefix(all, "for=10.1.2.3") || !strings.Contains(all[1:], "for=127.0.0.1") {
		t.Errorf("Forwarded is %q", all)
	}
	if got.get("Via") != "1.1 viaduct" {
		t.Errorf("Via is %q", got.all("Via"))
	}
	got.without(t, "Proxy-Connection")
}
