package logentry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/expr"
)

// Fields are members that a config adds to entries, or takes out (Kong's
// custom_fields_by_lua): a path and code that returns the value, where nil takes
// out. The code is what package expr can evaluate, with these of Kong's names:
//
//	kong.request.get_id(), get_method(), get_scheme(), get_host(), get_port(),
//	    get_path(), get_raw_path(), get_raw_query(), get_path_with_query(),
//	    get_http_version(), get_header("name"), get_query_arg("name")
//	kong.response.get_status(), get_source(), get_header("name")
//	kong.service.response.get_status()
//	kong.client.get_ip(), get_forwarded_ip(),
//	    get_consumer().id, .username, .custom_id, get_credential().id
//	kong.router.get_route().id, .name, get_service().id, .name, .host
//	kong.ctx.shared.name
//	kong.node.get_id()
type Fields struct {
	list []custom
}

type custom struct {
	path []string
	code *expr.Expr[*plugin.Exchange]
}

// CompileFields compiles them; nodeID is what kong.node.get_id() gives. nil if
// there are none.
func CompileFields(fields map[string]string, nodeID string) (*Fields, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	f := &Fields{}
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		code, err := expr.CompileReturn(fields[path], scope(nodeID))
		if err != nil {
			return nil, fmt.Errorf("custom_fields_by_lua %s: %w", path, err)
		}
		f.list = append(f.list, custom{splitPath(path), code})
	}
	return f, nil
}

// CheckCode says whether code can be evaluated.
func CheckCode(code string) error {
	_, err := expr.CompileReturn(code, scope(""))
	return err
}

// splitPath splits a path at its dots; "\." is a dot within a name.
func splitPath(path string) []string {
	parts := []string{""}
	for i := 0; i < len(path); i++ {
		last := len(parts) - 1
		switch {
		case path[i] == '\\' && i+1 < len(path) && path[i+1] == '.':
			i++
			parts[last] += "."
		case path[i] == '.':
			parts = append(parts, "")
		default:
			parts[last] += path[i : i+1]
		}
	}
	return parts
}

// Apply changes an entry. One that cannot be changed stays as it is.
func (f *Fields) Apply(entry []byte, ex *plugin.Exchange) []byte {
	decoder := json.NewDecoder(bytes.NewReader(entry))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return entry
	}
	for i := range f.list {
		put(object, f.list[i].path, f.list[i].code.Eval(ex).Any())
	}
	changed, err := encode(object)
	if err != nil {
		return entry
	}
	return changed
}

// put sets the member at a path, with the objects on the way, or removes it. What is
// no object on the way has no members.
func put(object map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		below, is := object[name].(map[string]any)
		switch {
		case is:
		case object[name] != nil || value == nil:
			return
		default:
			below = map[string]any{}
			object[name] = below
		}
		object = below
	}
	name := path[len(path)-1]
	if value == nil {
		delete(object, name)
		return
	}
	object[name] = value
}

type lookup = func(*plugin.Exchange) expr.Value

// scope gives the meaning of Kong's names.
func scope(nodeID string) expr.Scope[*plugin.Exchange] {
	return func(n expr.Name) (lookup, error) {
		path := n.Path()
		if name, ok := strings.CutPrefix(path, "kong.ctx.shared."); ok && len(n.Words) == 4 {
			return func(ex *plugin.Exchange) expr.Value { return expr.TextOr(ex.SharedText(name)) }, nil
		}
		if f := namedLookups[path]; f != nil && len(n.Args) == 1 {
			return f(n.Args[0]), nil
		}
		if path == "kong.node.get_id()" {
			return func(*plugin.Exchange) expr.Value { return expr.Text(nodeID) }, nil
		}
		if f := plainLookups[path]; f != nil && len(n.Args) == 0 {
			return f, nil
		}
		return nil, fmt.Errorf("%s cannot be evaluated: there is no Lua", path)
	}
}

// namedLookups have an argument.
var namedLookups = map[string]func(name string) lookup{
	"kong.request.get_header()": func(name string) lookup {
		return func(ex *plugin.Exchange) expr.Value {
			if h := ex.Request.Header; h.Has(name) {
				return expr.Text(h.Get(name))
			}
			return expr.TextOr(ex.Request.Received.Get(name), ex.Request.Received.Has(name))
		}
	},
	"kong.request.get_query_arg()": func(name string) lookup {
		return func(ex *plugin.Exchange) expr.Value {
			for p := range plugin.Params(ex.Request.Query) {
				switch {
				case p.Name != name:
				case p.Bare:
					return expr.Bool(true)
				default:
					return expr.Text(p.Value)
				}
			}
			return expr.Value{}
		}
	},
	"kong.response.get_header()": func(name string) lookup {
		return func(ex *plugin.Exchange) expr.Value {
			return expr.TextOr(ex.Response.Header.Get(name), ex.Response.Header.Has(name))
		}
	},
}

// filled is a text, or nil for none.
func filled(s string) expr.Value { return expr.TextOr(s, s != "") }

var plainLookups = map[string]lookup{
	"kong.request.get_id()":     func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Request.ID) },
	"kong.request.get_method()": func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Request.Method) },
	"kong.request.get_scheme()": func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Request.Scheme) },
	"kong.request.get_host()":   func(ex *plugin.Exchange) expr.Value { return expr.Text(hostOnly(ex.Request.Host)) },
	"kong.request.get_port()":   func(ex *plugin.Exchange) expr.Value { return expr.Number(float64(ex.Listener)) },
	"kong.request.get_path()":   func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Request.Path) },
	"kong.request.get_raw_path()": func(ex *plugin.Exchange) expr.Value {
		return expr.Text(ex.Request.RawPath)
	},
	"kong.request.get_raw_query()": func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Request.Query) },
	"kong.request.get_path_with_query()": func(ex *plugin.Exchange) expr.Value {
		if ex.Request.Query == "" {
			return expr.Text(ex.Request.RawPath)
		}
		return expr.Text(ex.Request.RawPath + "?" + ex.Request.Query)
	},
	"kong.request.get_http_version()": func(ex *plugin.Exchange) expr.Value {
		return expr.Number(float64(ex.Request.ProtoMajor) + float64(ex.Request.ProtoMinor)/10)
	},
	"kong.response.get_status()": func(ex *plugin.Exchange) expr.Value { return expr.Number(float64(ex.Response.Status)) },
	"kong.response.get_source()": func(ex *plugin.Exchange) expr.Value {
		if ex.Response.Source == plugin.FromService {
			return expr.Text("service")
		}
		return expr.Text("exit")
	},
	"kong.service.response.get_status()": func(ex *plugin.Exchange) expr.Value {
		if ex.Response.UpstreamStatus == 0 {
			return expr.Value{}
		}
		return expr.Number(float64(ex.Response.UpstreamStatus))
	},
	"kong.client.get_ip()":                 func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Peer.Addr().Unmap().String()) },
	"kong.client.get_forwarded_ip()":       func(ex *plugin.Exchange) expr.Value { return expr.Text(ex.Client.Addr().Unmap().String()) },
	"kong.client.get_consumer().id":        ofConsumer(func(ex *plugin.Exchange) string { return ex.Consumer.ID }),
	"kong.client.get_consumer().username":  ofConsumer(func(ex *plugin.Exchange) string { return ex.Consumer.Username }),
	"kong.client.get_consumer().custom_id": ofConsumer(func(ex *plugin.Exchange) string { return ex.Consumer.CustomID }),
	"kong.client.get_credential().id":      func(ex *plugin.Exchange) expr.Value { return filled(ex.Credential.ID) },
	"kong.router.get_route().id":           ofRoute(func(ex *plugin.Exchange) string { return ex.Route.ID }),
	"kong.router.get_route().name":         ofRoute(func(ex *plugin.Exchange) string { return ex.Route.Name }),
	"kong.router.get_service().id":         ofService(func(ex *plugin.Exchange) string { return ex.Service.ID }),
	"kong.router.get_service().name":       ofService(func(ex *plugin.Exchange) string { return ex.Service.Name }),
	"kong.router.get_service().host":       ofService(func(ex *plugin.Exchange) string { return ex.Service.Host }),
}

func ofConsumer(f func(*plugin.Exchange) string) lookup {
	return ifThere(func(ex *plugin.Exchange) bool { return ex.Consumer != nil }, f)
}

func ofRoute(f func(*plugin.Exchange) string) lookup {
	return ifThere(func(ex *plugin.Exchange) bool { return ex.Route != nil }, f)
}

func ofService(f func(*plugin.Exchange) string) lookup {
	return ifThere(func(ex *plugin.Exchange) bool { return ex.Service != nil }, f)
}

func ifThere(there func(*plugin.Exchange) bool, f func(*plugin.Exchange) string) lookup {
	return func(ex *plugin.Exchange) expr.Value {
		if !there(ex) {
			return expr.Value{}
		}
		return filled(f(ex))
	}
}
