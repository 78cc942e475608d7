package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"viaduct/config"
)

const schemaFile = "../doc/viaduct.schema.json"

func TestSchemaFile(t *testing.T) {
	if os.Getenv("VIADUCT_UPDATE") != "" {
		if err := os.WriteFile(schemaFile, config.Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(schemaFile); err != nil || !bytes.Equal(have, config.Schema()) {
		t.Errorf("%s is not what the structs of config say (%v)\n\tdo: VIADUCT_UPDATE=1 go test -run Schema ./config", schemaFile, err)
	}
}

// object is one of JSON.
type object = map[string]any

// breaks says where a value breaks a schema, of what ours is made of.
func breaks(s object, v any, path string) string {
	for key := range s {
		if !slices.Contains([]string{"$schema", "title", "description", "default", "type", "enum", "pattern", "minimum", "maximum", "anyOf", "oneOf", "items", "minItems", "minLength", "required", "properties", "patternProperties", "additionalProperties"}, key) {
			return path + ": the schema has " + key + ", which this test does not know"
		}
	}
	if types := strings.Replace(fmt.Sprint(s["type"]), "number", "integer number", 1); s["type"] != nil && !slices.Contains(strings.Fields(strings.Trim(types, "[]")), typeOf(v)) {
		return fmt.Sprintf("%s is %s, not %s", path, typeOf(v), types)
	}
	if of, ok := s["anyOf"].([]any); ok && !slices.ContainsFunc(of, func(one any) bool { return breaks(one.(object), v, path) == "" }) {
		return path + " is none of what it may be"
	}
	if of, ok := s["oneOf"].([]any); ok {
		fits := 0
		for _, one := range of {
			if breaks(one.(object), v, path) == "" {
				fits++
			}
		}
		if fits != 1 {
			return fmt.Sprintf("%s is %d of what it may be", path, fits)
		}
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, v) {
		return fmt.Sprintf("%s is %v, none of %v", path, v, words)
	}
	switch v := v.(type) {
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Sprintf("%s is %q, not %s", path, v, p)
		}
		if least, ok := s["minLength"].(float64); ok && len(v) < int(least) {
			return path + " is too short"
		}
	case float64:
		least, bounded := s["minimum"].(float64)
		if most, ok := s["maximum"].(float64); bounded && v < least || ok && v > most {
			return fmt.Sprintf("%s is out of bounds: %v", path, v)
		}
	case []any:
		return breaksList(s, v, path)
	case object:
		return breaksObject(s, v, path)
	}
	return ""
}

func breaksList(s object, v []any, path string) string {
	if least, ok := s["minItems"].(float64); ok && len(v) < int(least) {
		return path + " is too short"
	}
	items, ok := s["items"].(object)
	if !ok {
		return ""
	}
	for i := range v {
		if text := breaks(items, v[i], fmt.Sprintf("%s[%d]", path, i)); text != "" {
			return text
		}
	}
	return ""
}

func breaksObject(s, v object, path string) string {
	required, _ := s["required"].([]any)
	for _, key := range required {
		if _, ok := v[key.(string)]; !ok {
			return fmt.Sprintf("%s has no %s", path, key)
		}
	}
	properties, ok := s["properties"].(object)
	patterns, some := s["patternProperties"].(object)
	if !ok && !some {
		return ""
	}
	for key, value := range v {
		property, ok := properties[key].(object)
		for pattern, p := range patterns {
			if regexp.MustCompile(pattern).MatchString(key) {
				property, ok = p.(object), true
			}
		}
		if !ok {
			return path + " has the unknown key " + key
		}
		if text := breaks(property, value, path+"."+key); text != "" {
			return text
		}
	}
	return ""
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// judge asks the schema about a text of YAML.
func judge(t *testing.T, text string) string {
	t.Helper()
	var v, again any
	if err := yaml.Load([]byte(text), &v); err != nil {
		return err.Error()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var s object
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	return breaks(s, again, "file")
}

// What an editor calls right and wrong is what the reader calls so, as far as a
// schema can know.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	var full strings.Builder
	if err := config.Default().Print(&full); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		full.String(),
		"forward: [{}]", "forward: [~]", "forward:\n- listen: 127.0.0.1:1\n", "forward: [{}]\nlog:\n", "forward: [{}]\nlog: {access: }\n",
		"forward: [{connect_ports: any}]", "forward: [{connect_ports: 443}]", "forward: [{connect_ports: '443, 80'}]", "forward: [{connect_ports: [443, 80]}]",
		"forward: [{idle_timeout: 1h30m5.5s, drain_grace: 0s, max_header: 8 KiB, max_conns: 3, open: true}]",
		"forward: [{egress: 10.0.0.1, resolver: [9.9.9.9]}]", "forward: [{egress: [], resolver: []}]",
		"forward: [{open: True, allow_private: FALSE}]\nwatch: TRUE", "forward: [{open: 'true', max_conns: '5', max_conns_per_client: 2147483647}]",
		"forward: [{connect_ports: ['443,80', 8443]}]", "forward: [{connect_ports: [any]}]", "forward: [{connect_ports: ' 443 ,80 '}]", "forward: [{connect_ports: ['443']}]",
		"forward: [{listen: 'https://127.0.0.1:1', tls: {cert: a, key: [b], client_ca: c}, ca: d, origin_ca: e, inspect: [{pass: {host: a}}, {name: x, decrypt: {}}]}]",
		"forward: [{tls: }]", "forward: [{tls: {cert: []}, inspect: [], filters: []}]", "forward: [{filters: [{match: {}, request: {remove: A}, deny: {answer_type: a/b, answer_size: 1 GiB}}]}]",
		"forward: [{filters: [{respond: {status: 404}, match: {port: [443]}}, {redirect: {to: 'http://a', keep_path: true, status: '301'}}]}]",
		allPools, routed("via: one"), pools("{endpoints: direct, retry_budget: '20%', panic_below: 0.5, balance: hash, hash_bound: 1.5}"), "forward: [{via: direct, route: []}]\npools: {}", "forward: [{}]\npools: ~",
		"forward: [{idle_timeout: +5s, drain_grace: 5μs, dial_timeout: 500µs, max_header: ' 8 KiB'}]",
	} {
		if _, err := config.Read("v.yaml", []byte(text)); err != nil {
			t.Errorf("%s\nthe reader says %v", text, err)
		}
		if wrong := judge(t, text); wrong != "" {
			t.Errorf("%s\nthe schema says %s", text, wrong)
		}
	}
	for _, text := range []string{
		"", "~", "{}", "[]", "forward: {}", "forward: []", "forward: [x]", "forwrd: [{}]", "forward: [{lisen: x}]", "forward: [{}]\nreverse: {}", "forward: [{}]\nlog: info",
		"forward: [{idle_timeout: 30}]", "forward: [{idle_timeout: '30'}]", "forward: [{idle_timeout: 1d}]", "forward: [{idle_timeout: -1s}]", "forward: [{drain_grace: 0}]",
		"forward: [{max_header: 65536}]", "forward: [{max_header: 64K}]", "forward: [{max_conns: -1}]", "forward: [{max_conns: 1.5}]", "forward: [{max_conns: many}]",
		"forward: [{max_conns: 2147483648}]", "forward: [{max_conns: '-1'}]", "forward: [{listen: []}]", "forward: [{open: 'tRue'}]", "forward: [{connect_ports: ['x']}]",
		"forward: [{idle_timeout: 5 s}]", "forward: [{idle_timeout: 5S}]", "forward: [{max_header: -1KiB}]", "forward: [{egress: [~]}]",
		"forward: [{rules: {}}]", "forward: [{rules: [{}]}]", "forward: [{rules: [~]}]", "forward: [{rules: [x]}]", "forward: [{rules: [{deny: }]}]", "forward: [{rules: [{deny: x}]}]",
		"forward: [{rules: [{deny: {}, allow: {}}]}]", "forward: [{rules: [{deny: {hots: a}}]}]", "forward: [{rules: [{deny: {host: []}}]}]", "forward: [{rules: [{deny: {host: ~}}]}]",
		"forward: [{rules: [{deny: {host: [[a]]}}]}]", "forward: [{rules: [{deny: {}, report_only: 1}]}]", "forward: [{sni: on}]", "forward: [{reload_tunnels: cut}]", "forward: [{auth_cache: 5}]",
		"forward: [{tls: {certs: a}}]", "forward: [{tls: [a]}]", "forward: [{ca: ''}]", "forward: [{ca: [a]}]", "forward: [{inspect: [{}]}]", "forward: [{inspect: [{pass: {}, decrypt: {}}], ca: a}]", "forward: [{inspect: {decrypt: {}}, ca: a}]",
		"forward: [{filters: [{deny: }]}]", "forward: [{filters: [{deny: {answer_size: 5}}]}]", "forward: [{filters: [{deny: {answer_type: []}}]}]", "forward: [{filters: [{request: {set: [{A: b}]}}]}]", "forward: [{filters: [{redirect: {to: ''}}]}]",
		"forward: [{filters: [{request: {replace: {header: a, match: b}}}]}]", "forward: [{filters: [{request: {replace: []}}]}]", "forward: [{filters: [{respond: {status: x}}]}]", "forward: [{filters: [deny]}]",
		"forward: [{}]\npools: []", "forward: [{}]\npools: {A: {endpoints: direct}}", pools("{endpoints: []}"), pools("{endpoints: [~]}"), pools("{endpoints: direct, retry_budget: 20 %}"), pools("{endpoints: direct, retry_budget: -0.1}"),
		pools("{endpoints: direct, balance: fast}"), pools("{endpoints: direct, limits: [1]}"), pools("{endpoint: direct}"), "forward: [{via: ''}]", "forward: [{route: {via: a}}]", "forward: [{route: [{hots: a, via: direct}]}]",
		"forward: [{open: yes}]", "forward: [{open: 1}]", "forward: [{anonymity: none}]", "forward: [{anonymity: [strict]}]", "forward: [{listen: [[x]]}]", "forward: [{listen: }]",
		"forward: [{connect_ports: []}]", "forward: [{connect_ports: [0]}]", "forward: [{connect_ports: [any]}]x", "forward: [{connect_ports: http}]", "forward: [{connect_ports: [65536]}]",
	} {
		if _, err := config.Read("v.yaml", []byte(text)); err == nil {
			t.Errorf("%s\nthe reader says nothing", text)
		}
		if judge(t, text) == "" {
			t.Errorf("%s\nthe schema says nothing", text)
		}
	}
}

// Every key is there with a description, so that an editor can tell of it.
func TestSchemaTellsOfEveryKey(t *testing.T) {
	var s object
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	n := 0
	var look func(s object, path string)
	look = func(s object, path string) {
		for key, p := range s["properties"].(object) {
			p := p.(object)
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", path, key)
			}
			n++
			if items, ok := p["items"].(object); ok && items["properties"] != nil {
				p = items
			}
			named, _ := p["patternProperties"].(object)
			for _, entry := range named {
				p = entry.(object)
			}
			if p["properties"] != nil {
				look(p, path+"."+key)
			}
		}
	}
	look(s, "")
	// And four sections, watch and tls; the three lists; what their entries have that is
	// no flag; and thrice as many terms again: none of this has a flag. Nor have pools, via
	// and route, what a route has, and much of a pool.
	if want := len(config.Flags()) + 6 + 3 + 2 + 1 + 7 + 5*9 + 2*(3+3) + 4 + 4 + 3 + 3 + (2 + 9) + (9 + 4) + 3 + 4; n != want {
		t.Errorf("%d keys, want %d", n, want)
	}
}

// The examples are right, and an editor finds the schema from where they are.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); err != nil {
			t.Errorf("%v", err)
		}
		if wrong := judge(t, string(text)); wrong != "" {
			t.Errorf("%s: the schema says %s", file, wrong)
		}
		_, path, _ := strings.Cut(string(text), "# yaml-language-server: $schema=")
		path, _, _ = strings.Cut(path, "\n")
		if filepath.Join(filepath.Dir(file), path) != filepath.Clean(schemaFile) || !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s: it begins with what it is for, and names its schema (%q)", file, path)
		}
	}
}
