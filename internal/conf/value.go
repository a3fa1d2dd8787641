package conf

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// setValue sets a field from a value in the file. A single value is accepted as
// a list with one element.
func setValue(f *field, v reflect.Value, value cty.Value) error {
	if value.IsNull() || !value.IsKnown() {
		return errors.New("no value")
	}
	isList := value.Type().IsTupleType() || value.Type().IsListType() || value.Type().IsSetType()
	switch {
	case v.Kind() == reflect.Map:
		return setMap(f, v, value)
	case v.Kind() != reflect.Slice && isList:
		return errors.New("must be one value, not a list")
	case v.Kind() != reflect.Slice:
		return setScalar(f, v, value)
	case !isList:
		value = cty.TupleVal([]cty.Value{value})
	}
	list := reflect.MakeSlice(v.Type(), 0, value.LengthInt())
	for it := value.ElementIterator(); it.Next(); {
		_, item := it.Element()
		one := reflect.New(v.Type().Elem()).Elem()
		if err := setScalar(f, one, item); err != nil {
			return err
		}
		list = reflect.Append(list, one)
	}
	v.Set(list)
	return nil
}

func setMap(f *field, v reflect.Value, value cty.Value) error {
	if !value.Type().IsObjectType() && !value.Type().IsMapType() {
		return errors.New(`must be a map such as { name = "value" }`)
	}
	v.Set(reflect.MakeMap(v.Type()))
	for it := value.ElementIterator(); it.Next(); {
		key, item := it.Element()
		one := reflect.New(v.Type().Elem()).Elem()
		if err := setValue(f, one, item); err != nil {
			return fmt.Errorf("%s: %w", key.AsString(), err)
		}
		v.SetMapIndex(reflect.ValueOf(key.AsString()), one)
	}
	return nil
}

func setScalar(f *field, v reflect.Value, value cty.Value) error {
	text, err := textOf(value)
	if err != nil {
		return err
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		*p, err = ParseDuration(text)
		return err
	case *Bytes:
		*p, err = ParseBytes(text)
		return err
	case *Rate:
		*p, err = ParseRate(text)
		return err
	case *Listen:
		*p, err = ParseListen(text)
		return err
	case *netip.Prefix:
		*p, err = parsePrefix(text)
		return err
	case encoding.TextUnmarshaler:
		if p.UnmarshalText([]byte(text)) != nil {
			return fmt.Errorf("%q is not a valid %s", text, kindName(v.Type()))
		}
		return nil
	}
	return setKind(f, v, text)
}

// setKind sets an attribute of a basic Go kind.
func setKind(f *field, v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		if err := oneOf(text, f.tag.Get("enum")); err != nil {
			return err
		}
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
		return nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not an integer", text)
		}
		v.SetInt(n)
		return nil
	case reflect.Uint16:
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a number from 0 to 65535", text)
		}
		v.SetUint(n)
		return nil
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(x)
		return nil
	}
	panic(fmt.Sprintf("conf: attribute %s has an unsupported type %s", f.name, v.Type()))
}

// textOf returns a string, number or boolean as text.
func textOf(value cty.Value) (string, error) {
	if value.IsNull() || !value.IsKnown() {
		return "", errors.New("no value")
	}
	switch value.Type() {
	case cty.String:
		return value.AsString(), nil
	case cty.Number:
		return value.AsBigFloat().Text('f', -1), nil
	case cty.Bool:
		return strconv.FormatBool(value.True()), nil
	}
	return "", errors.New("must be a string, number or boolean, not " + value.Type().FriendlyName())
}

func oneOf(text, enum string) error {
	if enum == "" {
		return nil
	}
	words := strings.Split(enum, "|")
	for _, w := range words {
		if w == text {
			return nil
		}
	}
	list := strings.TrimSuffix(strings.Join(words, ", "), ", ")
	if meant := Suggest(text, words); meant != "" {
		return fmt.Errorf("%q is not one of %s: did you mean %q?", text, list, meant)
	}
	return fmt.Errorf("%q is not one of %s", text, list)
}

// parsePrefix parses a network, or an IP address as the network that contains
// only that host.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return p, fmt.Errorf("%q has bits set after its prefix length: did you mean %s?", s, p.Masked())
		}
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}
