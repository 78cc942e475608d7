package cmd_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"viaduct/config"
)

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"forward: [{}]": "1 forward proxy, 1 listener",
		"forward: [{listen: ['127.0.0.1:0', '127.0.0.1:0']}]":     "1 forward proxy, 2 listeners",
		"forward: [{}, {listen: ['127.0.0.1:1', '127.0.0.1:2']}]": "2 forward proxies, 3 listeners",
	} {
		file := write(t, text)
		for _, line := range []string{"check -c " + file, "-c " + file + " check"} {
			code, out, errOut := run(t, line)
			if code != 0 || errOut != "" || out != file+": ok: "+want+"\n" {
				t.Errorf("%s: exit %d, %q, %q", text, code, out, errOut)
			}
		}
	}
}

// What is printed is the whole configuration, and a file that says the same.
func TestCheckPrint(t *testing.T) {
	file := write(t, "forward: [{listen: 127.0.0.1:0, idle_timeout: 90s}]\nlog: {access: {path: a.log}}")
	want, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run(t, "check --print -c "+file)
	if code != 0 || errOut != "" || !strings.Contains(out, "idle_timeout: 1m30s") || !strings.Contains(out, "dial_timeout: 4s") {
		t.Errorf("exit %d, %s, %s", code, out, errOut)
	}
	if got, err := config.Load(write(t, out)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %+v, want %+v", err, got, want)
	}
}

func TestCheckSchema(t *testing.T) {
	want, err := os.ReadFile("../doc/viaduct.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := run(t, "check --schema"); code != 0 || errOut != "" || out != string(want) {
		t.Errorf("exit %d, %d bytes, %s", code, len(out), errOut)
	}
}

// Files that are missing are all told of, each in a line.
func TestCheckTellsOfAllFiles(t *testing.T) {
	file := write(t, "forward:\n- {listen: 127.0.0.1:0, users: none}\n- {listen: 127.0.0.1:0, users: nobody}\n")
	code, _, errOut := run(t, "check -c "+file)
	lines := strings.Split(strings.TrimSpace(errOut), "\n")
	if code != 2 || len(lines) != 2 {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	for i, want := range []string{"forward[0]: users: open ", "forward[1]: users: open "} {
		if !strings.HasPrefix(lines[i], "viaduct: ") || !strings.Contains(lines[i], want) {
			t.Errorf("%s, want %s", lines[i], want)
		}
	}
}
