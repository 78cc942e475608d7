package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"viaduct/authority"
	house "viaduct/pem"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	before := time.Now().Truncate(time.Second)
	c, err := authority.Init(dir, authority.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o755 | fs.ModeDir, filepath.Join(dir, authority.KeyFile): 0o600, filepath.Join(dir, authority.CertFile): 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if block, rest := pem.Decode(read(t, dir, authority.CertFile)); string(block.Bytes) != string(c.Raw) || len(rest) > 0 {
		t.Error("the file holds something else")
	}
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("%T", c.PublicKey)
	}
	if !c.IsCA || !c.BasicConstraintsValid || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign ||
		len(c.SubjectKeyId) == 0 || c.SerialNumber.BitLen() < 64 || c.SerialNumber.Sign() <= 0 {
		t.Errorf("%+v", c)
	}
	for _, e := range c.Extensions {
		if id := e.Id.String(); e.Critical != (id == "2.5.29.15" || id == "2.5.29.19") {
			t.Errorf("extension %s: critical %v", id, e.Critical)
		}
	}
	if from := c.NotBefore.Sub(before); from < -time.Hour || from > -59*time.Minute {
		t.Errorf("it begins on %v", c.NotBefore)
	}
	if d := c.NotAfter.Sub(c.NotBefore) - time.Hour; d != 3650*24*time.Hour {
		t.Errorf("it lasts %v", d)
	}
	other, err := authority.Init(filepath.Join(t.TempDir(), "ca"), authority.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*x509.Certificate{c, other} {
		if !strings.HasPrefix(c.Subject.CommonName, "viaduct inspection CA ") || len(c.Subject.Names) != 1 {
			t.Errorf("it is called %v", c.Subject)
		}
	}
	if c.Subject.CommonName == other.Subject.CommonName {
		t.Error("two with one name")
	}
}

// Whatever the umask takes away, the modes are those that they are to be.
func TestInitAndTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077} {
		dir := filepath.Join(t.TempDir(), "ca")
		old := syscall.Umask(mask)
		_, err := authority.Init(dir, authority.InitOptions{})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if err := house.Private(filepath.Join(dir, authority.KeyFile)); err != nil {
			t.Error(err)
		}
		for path, want := range map[string]fs.FileMode{dir: 0o755, filepath.Join(dir, authority.KeyFile): 0o600, filepath.Join(dir, authority.CertFile): 0o644} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s: %v, %v", mask, path, info.Mode(), err)
			}
		}
	}
}

func TestInitOptions(t *testing.T) {
	for _, tt := range []struct {
		o    authority.InitOptions
		want string
	}{
		{authority.InitOptions{Name: "Büro „Nord“ + Süd, C=DE", Days: 1}, ""},
		{authority.InitOptions{Name: strings.Repeat("ü", 64), Days: authority.MostDays}, ""},
		{authority.InitOptions{Name: strings.Repeat("ü", 65)}, "the name is too long"},
		{authority.InitOptions{Name: "a\nb"}, "is not text"},
		{authority.InitOptions{Name: "a\u202eb"}, "is not text"},
		{authority.InitOptions{Name: "a\xffb"}, "is not text"},
		{authority.InitOptions{Days: -1}, "-1 days: give from 1 to 36500"},
		{authority.InitOptions{Days: authority.MostDays + 1}, "36501 days: give from 1 to 36500"},
	} {
		dir := filepath.Join(t.TempDir(), "ca")
		c, err := authority.Init(dir, tt.o)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v", tt.o, err)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%+v: a folder is left", tt.o)
			}
			continue
		}
		if err != nil || c.Subject.CommonName != tt.o.Name || c.NotAfter.Sub(c.NotBefore) != time.Duration(tt.o.Days)*24*time.Hour+time.Hour {
			t.Errorf("%+v: %v, %v, %v", tt.o, c, c.NotAfter, err)
		}
		a, err := authority.Parse(read(t, dir, authority.CertFile), read(t, dir, authority.KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(certificate(t, a, "example.com"), trusting(t, read(t, dir, authority.CertFile)), "example.com"); err != nil {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	for _, name := range []string{authority.CertFile, authority.KeyFile} {
		for _, kind := range []string{"file", "folder", "link to nowhere"} {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			var err error
			switch kind {
			case "file":
				err = os.WriteFile(path, []byte("precious"), 0o600)
			case "folder":
				err = os.Mkdir(path, 0o700)
			default:
				err = os.Symlink(filepath.Join(dir, "nowhere"), path)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = authority.Init(dir, authority.InitOptions{})
			if _, system := errors.AsType[*fs.PathError](err); err == nil || system || !strings.HasPrefix(err.Error(), path+" is there already") {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("%s, %s: %v, %v", name, kind, entries, err)
			}
			if text, err := os.ReadFile(path); kind == "file" && string(text) != "precious" {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	}
}

// Of many at a time one does it, and the two files belong together.
func TestInitAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var won atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			_, err := authority.Init(dir, authority.InitOptions{})
			switch {
			case err == nil:
				won.Add(1)
			case !strings.Contains(err.Error(), "is there already"):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d did it", won.Load())
	}
	if _, err := authority.Parse(read(t, dir, authority.CertFile), read(t, dir, authority.KeyFile)); err != nil {
		t.Error(err)
	}
}

func TestInitWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "ca"), "/proc/ca", "a\x00b"} {
		_, err := authority.Init(dir, authority.InitOptions{})
		if _, system := errors.AsType[*fs.PathError](err); !system {
			t.Errorf("%q: %v", dir, err)
		}
	}
}
