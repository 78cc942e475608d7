package config

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
)

// object is one of JSON.
type object map[string]any

// Schema is a JSON Schema (draft 2020-12) of the file, for editors that check and
// complete it.
func Schema() []byte {
	s := sectionSchema(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "viaduct"
	s["type"] = "object"
	s["required"] = []string{"forward"}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic(err) // there is nothing in it that JSON does not have
	}
	return b.Bytes()
}

func sectionSchema(section reflect.Type) object {
	properties := object{}
	for _, f := range fields(section) {
		s := f.schema()
		s["description"] = f.usage
		if v := reflect.New(f.typ).Elem(); f.preset != "" {
			f.set(v, []string{f.preset}, func(int, string) {})
			s["default"] = shown(v)
		}
		properties[f.key] = s
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// shown is a value as JSON has it.
func shown(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Slice, reflect.Bool, reflect.Int:
		if v.Type() != sizeType {
			return v.Interface()
		}
	}
	return word(v)
}

// Patterns of what has a unit, of ports in one word, and of what may stand in
// quotes.
const (
	durationPattern = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
	sizePattern     = `^ *[0-9]+ *(B|kB|KiB|MB|MiB|GiB)$`
	portsPattern    = `^(any| *[0-9]+ *(, *[0-9]+ *)*)$`
	booleanPattern  = `^(true|false|True|False|TRUE|FALSE)$`
	numberPattern   = `^\+?[0-9]+$`
)

func (f field) schema() object {
	switch {
	case f.section():
		return sectionSchema(f.typ)
	case f.sections():
		return object{"type": "array", "minItems": 1, "items": sectionSchema(f.typ.Elem())}
	case f.typ == portsType:
		one := object{"type": []string{"integer", "string"}, "minimum": 1, "maximum": 65535, "pattern": portsPattern}
		return object{"anyOf": []object{one, {"type": "array", "items": one, "minItems": 1}}}
	case f.list():
		one := field{typ: f.typ.Elem()}.schema()
		least := min(1, len(f.preset)) // where the default is something, nothing is wrong
		return object{"anyOf": []object{one, {"type": "array", "items": one, "minItems": least}}}
	case f.typ == durationType:
		return object{"type": "string", "pattern": durationPattern}
	case f.typ == sizeType:
		return object{"type": "string", "pattern": sizePattern}
	case f.typ.Kind() == reflect.Bool:
		return object{"type": []string{"boolean", "string"}, "pattern": booleanPattern, "default": false}
	case f.typ.Kind() == reflect.Int:
		return object{"type": []string{"integer", "string"}, "minimum": 0, "maximum": math.MaxInt32, "pattern": numberPattern}
	case f.oneof != nil:
		return object{"enum": f.oneof}
	}
	return object{"type": "string"}
}
