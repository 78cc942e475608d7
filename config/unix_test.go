package config_test

import (
	"strings"
	"testing"

	"viaduct/config"
)

func TestUnixPath(t *testing.T) {
	long := "/" + strings.Repeat("x", 106)
	for listen, want := range map[string]string{
		"unix:///run/viaduct.sock":  "/run/viaduct.sock",
		"unix:///run/a socket:9090": "/run/a socket:9090",
		"unix:///run/../s":          "",
		"unix:///run//s":            "",
		"unix:///run/s/":            "",
		"unix:///":                  "",
		"unix://":                   "",
		"unix://run/s":              "",
		"unix://@abstract":          "",
		"unix:/run/s":               "",
		"UNIX:///run/s":             "",
		"/run/s":                    "",
		"127.0.0.1:9090":            "",
		"":                          "",
		"unix:///run/\x00":          "",
		"unix://" + long:            long,
		"unix://" + long + "x":      "",
	} {
		if path, ok := config.UnixPath(listen); ok != (want != "") || ok && path != want {
			t.Errorf("%q: %q, %v", listen, path, ok)
		}
	}
}
