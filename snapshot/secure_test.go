package snapshot_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/authority"
	"viaduct/config"
	"viaduct/files"
	"viaduct/snapshot"
)

// pair is a certificate that has begun and ends then, and its key, as files.
func pair(t *testing.T, name string, ends time.Time) (cert, key string) {
	t.Helper()
	return pairFrom(t, name, time.Unix(0, 0), ends)
}

func pairFrom(t *testing.T, name string, begins, ends time.Time) (cert, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: begins, NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

const (
	hour = time.Hour
	days = 24 * hour
	year = 365 * days
)

// house is a configuration with files, and what is made of it.
type house struct {
	*testing.T
	dir  string
	conf *config.Config
	now  *snapshot.Snapshot
	told []string
}

// newHouse has users, a certificate, authorities of clients and of origins, and
// an authority of its own.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir()}
	cert, key := pair(t, "proxy", in(year))
	h.write("proxy.crt", cert)
	h.write("proxy.key", key)
	for _, file := range []string{"clients.pem", "origins.pem"} {
		cert, _ := pair(t, file, in(year))
		h.write(file, cert)
	}
	if _, err := authority.Init(h.at("ca"), authority.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	h.users("ann", "bob")
	h.read(`
forward:
  - listen: ["https://127.0.0.1:0"]
    users: users
    tls: {cert: proxy.crt, key: proxy.key, client_ca: clients.pem}
    ca: ca
    inspect: [{decrypt: {host: [example.com]}}]
    origin_ca: origins.pem
`)
	h.now = h.must(snapshot.New(snapshot.Options{Conf: h.conf}))
	t.Cleanup(func() { h.now.Close() })
	return h
}

func (h *house) must(s *snapshot.Snapshot, err error) *snapshot.Snapshot {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *house) read(text string) {
	h.Helper()
	h.write("viaduct.yaml", text)
	conf, err := config.Load(h.at("viaduct.yaml"))
	if err != nil {
		h.Fatal(err)
	}
	h.conf = conf
}

func (h *house) at(file string) string { return filepath.Join(h.dir, file) }

// write replaces a file, which is another one then.
func (h *house) write(file, text string) {
	h.Helper()
	if err := os.WriteFile(h.at(file)+".new", []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
	if err := os.Rename(h.at(file)+".new", h.at(file)); err != nil {
		h.Fatal(err)
	}
}

func (h *house) mode(file string, mode os.FileMode) {
	h.Helper()
	if err := os.Chmod(h.at(file), mode); err != nil {
		h.Fatal(err)
	}
}

func (h *house) users(names ...string) {
	h.Helper()
	var text string
	for _, name := range names {
		text += name + ":$2a$04$NVfMgQcgpGZPPbHCQwX.bejN2zPoXHRCpJzDNTkT2VKOO2YxYQHHq\n"
	}
	h.write("users", text)
}

// refresh takes what has changed, as the server does, and returns what it told.
func (h *house) refresh(want ...string) {
	h.Helper()
	h.now.Files.Changed()
	changed := h.now.Files.Changed()
	h.told = nil
	next := h.must(snapshot.New(snapshot.Options{
		Conf: h.conf, Prev: h.now, Files: files.Again(h.now.Files, changed, func(err error) { h.told = append(h.told, err.Error()) }),
	}))
	h.now = next
	if len(h.told) != len(want) {
		h.Errorf("it told %q, want %q", h.told, want)
		return
	}
	for i := range want {
		if !strings.Contains(h.told[i], want[i]) {
			h.Errorf("it told %q, want %q", h.told, want)
		}
	}
}

func (h *house) wantUser(name string, there bool) {
	h.Helper()
	if _, got := h.now.Entries[0].Policy.Users.Identity(name); got != there {
		h.Errorf("user %s: %v", name, got)
	}
}

func TestBrokenCertificateKeepsNobodyIn(t *testing.T) {
	for name, damage := range map[string]struct {
		file, text string
		told       string
	}{
		"certificate":        {"proxy.crt", "rubbish", "tls: "},
		"key":                {"proxy.key", "rubbish", "tls: "},
		"clients":            {"clients.pem", "rubbish", "tls: client_ca: "},
		"authority":          {"ca/ca.crt", "rubbish", "ca: "},
		"authority's key":    {"ca/ca.key", "", "ca: "},
		"origins' authority": {"origins.pem", "rubbish", "origin_ca: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			before, ends := h.now, h.now.Certificates()
			h.write(damage.file, damage.text)
			h.refresh(damage.told)
			h.users("bob")
			h.refresh() // it was told before
			h.wantUser("ann", false)
			h.wantUser("bob", true)
			if h.now.Entries[0].TLS != before.Entries[0].TLS && damage.told[:3] == "tls" {
				t.Error("another certificate")
			}
			if got := h.now.Certificates(); !maps.Equal(got, ends) || len(got) != 4 {
				t.Errorf("certificates end at %v, did at %v", got, ends)
			}
			if len(h.now.Transits) != 1 || !maps.Equal(h.now.Transits, before.Transits) {
				t.Error("connections to origins are let go of")
			}
			if _, err := snapshot.New(snapshot.Options{Conf: h.conf, Prev: h.now}); err == nil || !strings.HasPrefix(err.Error(), "forward[0]: "+damage.told) {
				t.Errorf("a reload: %v", err)
			}
		})
	}
}

func TestBothAtOnce(t *testing.T) {
	h := newHouse(t)
	h.write("proxy.crt", "rubbish")
	h.users("bob")
	h.refresh("tls: ")
	h.wantUser("ann", false)
}

// The two files of a pair change one after the other, in either order.
func TestPairChangesFileByFile(t *testing.T) {
	for _, order := range [][]string{{"proxy.crt", "proxy.key"}, {"proxy.key", "proxy.crt"}} {
		h := newHouse(t)
		before := h.now.Entries[0].TLS
		cert, key := pair(t, "proxy", in(2*year))
		text := map[string]string{"proxy.crt": cert, "proxy.key": key}
		h.write(order[0], text[order[0]])
		h.refresh("the key does not belong to the certificate")
		h.users("bob")
		h.refresh()
		if h.now.Entries[0].TLS != before {
			t.Error("half a pair is taken")
		}
		h.write(order[1], text[order[1]])
		h.refresh()
		if h.now.Entries[0].TLS == before || h.now.Certificates()[h.at("proxy.crt")].Before(in(year+days)) {
			t.Error("the new pair is not taken")
		}
	}
}

func TestKeyThatOthersMayRead(t *testing.T) {
	for _, file := range []string{"ca/ca.key"} {
		h := newHouse(t)
		h.mode(file, 0o644)
		h.refresh("is open to every user of this machine: chmod 600 " + h.at(file))
		h.users("bob")
		h.refresh()
		h.wantUser("ann", false)
		if _, err := snapshot.New(snapshot.Options{Conf: h.conf}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a start: %v", err)
		}
		h.mode(file, 0o600)
		h.now.Files.Changed()
		if got := h.now.Files.Changed(); !slices.Equal(got, []string{h.at(file)}) {
			t.Errorf("changed: %v", got)
		}
		h.refresh()
	}
}

// What is remarked upon of a listener's key, as it may be a container's.
func TestListenersKeyThatOthersMayRead(t *testing.T) {
	h := newHouse(t)
	h.mode("proxy.key", 0o644)
	h.refresh()
	want := "tls: " + h.at("proxy.key") + " is open to every user of this machine: chmod 600 " + h.at("proxy.key")
	if all := h.now.Remarks(); !slices.Contains(all, "forward[0]: "+want) {
		t.Errorf("remarks: %q", all)
	}
}

// Another authority whose key is open comes to be taken when it is closed.
func TestAuthorityIsTakenWhenItsKeyIsClosed(t *testing.T) {
	h := newHouse(t)
	before := h.now.Certificates()[h.at("ca/ca.crt")]
	cert, key := pair(t, "another", in(year))
	h.write("ca/ca.crt", cert)
	h.write("ca/ca.key", key)
	h.mode("ca/ca.key", 0o644)
	h.refresh("chmod 600")
	if got := h.now.Certificates()[h.at("ca/ca.crt")]; !got.Equal(before) {
		t.Error("another authority")
	}
	h.mode("ca/ca.key", 0o600)
	h.refresh()
	if got := h.now.Certificates()[h.at("ca/ca.crt")]; got.Equal(before) {
		t.Error("the new authority is not taken")
	}
}

func TestEndedCertificateReplacesNone(t *testing.T) {
	for _, file := range []string{"clients.pem", "origins.pem"} {
		h := newHouse(t)
		before := h.now.Certificates()[h.at(file)]
		cert, _ := pair(t, "old", in(-days))
		h.write(file, cert)
		h.refresh(file + " ended on ")
		if got := h.now.Certificates()[h.at(file)]; !got.Equal(before) {
			t.Errorf("%s ends at %v", file, got)
		}
	}
	h := newHouse(t)
	before := h.now.Entries[0].TLS
	cert, key := pair(t, "old", in(-days))
	h.write("proxy.crt", cert)
	h.write("proxy.key", key)
	h.refresh("proxy.crt ended on ")
	if h.now.Entries[0].TLS != before {
		t.Error("the ended certificate is taken")
	}
}

func TestRemarksAboutCertificates(t *testing.T) {
	h := newHouse(t)
	if got := h.now.Remarks(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	old, _ := pair(t, "old", in(-days))
	late, _ := pairFrom(t, "late", in(2*days), in(year))
	fresh, _ := pair(t, "fresh", in(year))
	cert, key := pair(t, "soon", in(9*days+hour))
	h.write("proxy.crt", cert)
	h.write("proxy.key", key)
	h.write("clients.pem", fresh+old+late)
	h.write("origins.pem", old)
	cert, key = pair(t, "ca", in(hour))
	h.write("ca/ca.crt", cert)
	h.write("ca/ca.key", key)
	got, err := snapshot.Verify(h.conf)
	if err != nil {
		t.Fatal(err)
	}
	date := func(d time.Duration) string { return in(d).UTC().Format(time.DateOnly) }
	want := []string{
		fmt.Sprintf("forward[0]: tls: %s ends on %s, in 9 days", h.at("proxy.crt"), date(9*days+hour)),
		fmt.Sprintf(`forward[0]: tls: client_ca: %s: "old" in it ended on %s: nobody is let in by it`, h.at("clients.pem"), date(-days)),
		fmt.Sprintf(`forward[0]: tls: client_ca: %s: "late" in it begins on %s only: nobody is let in by it before`, h.at("clients.pem"), date(2*days)),
		fmt.Sprintf("forward[0]: ca: %s ends on %s, within a day", h.at("ca/ca.crt"), date(hour)),
		fmt.Sprintf("forward[0]: origin_ca: %s ended on %s: no origin is trusted by it", h.at("origins.pem"), date(-days)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h.now = h.must(snapshot.New(snapshot.Options{Conf: h.conf}))
	if ends := h.now.Certificates()[h.at("clients.pem")]; ends.After(time.Now()) {
		t.Errorf("the first of them ends at %v", ends)
	}
}

func TestAllThatIsWrongIsTold(t *testing.T) {
	h := newHouse(t)
	h.write("cert.pem", "rubbish")
	h.write("file", "")
	h.read(`
forward:
  - listen: ["https://127.0.0.1:0"]
    users: nobody
    tls: {cert: cert.pem}
  - listen: [127.0.0.2:0]
    ca: nope
    inspect: [{decrypt: {host: [example.com]}}]
    origin_ca: missing.pem
  - listen: [127.0.0.3:0]
    ca: ca/ca.crt
    inspect: [{decrypt: {host: [example.com]}}]
`)
	_, err := snapshot.New(snapshot.Options{Conf: h.conf})
	if err == nil {
		t.Fatal("it is taken")
	}
	want := []string{
		"forward[0]: tls: " + h.at("cert.pem") + ": the certificate cannot be used: it is not PEM",
		"forward[0]: users: open " + h.at("nobody"),
		"forward[1]: ca: there is no authority in " + h.at("nope") + ": viaduct ca init " + h.at("nope") + " makes one",
		"forward[1]: origin_ca: open " + h.at("missing.pem"),
		"forward[2]: ca: " + h.at("ca/ca.crt") + " is a file: --ca takes the folder",
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s, want %s", got[i], want[i])
		}
	}
}
