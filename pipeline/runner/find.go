package runner

import (
	"fmt"

	"pipe/cache"
	"pipe/stages"
)

// FindResult returns the record of a kind run with parameters and inputs, if the
// store knows it, whichever pipeline it was made in.
func FindResult(store *cache.Store, kind *stages.Kind, params stages.Params, inputs map[string]cache.InputContent) (*cache.Record, error) {
	d := cache.Description{Kind: kind.Name, Version: kind.Version, Params: params.Key()}
	for _, p := range kind.Inputs {
		if _, ok := inputs[p.Name]; ok {
			d.Inputs = append(d.Inputs, p.Name)
		}
	}
	for _, o := range kind.Outputs {
		d.Outputs = append(d.Outputs, [2]string{o.Name, o.Type()})
	}
	key, _ := cache.MakeKey(d, inputs)
	record, why := store.Lookup(key)
	if record == nil {
		return nil, fmt.Errorf("the store has no result of %s for these inputs %s", kind.Name, why)
	}
	return record, nil
}
