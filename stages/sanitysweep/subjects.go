package sanitysweep

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pipe/internal/manifest"
	"pipe/runtime/chat"
	"pipe/runtime/safetensors"
)

// subject is an adapter to ask; without a path it is the bare base.
type subject struct {
	name      string
	step      int
	path      string
	digest    string // of its folder
	info      chat.Info
	notFinite bool
}

const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"
)

// findSubjects lists the adapters in a folder, by step, or the one that the folder
// is. Of what a matrix of trainings made, each has a folder of adapters there.
func findSubjects(dir string) ([]subject, error) {
	if isAdapter(dir) {
		c, err := readSubject(dir, "adapter")
		return []subject{c}, err
	}
	names, err := adaptersIn(dir)
	if err != nil {
		return nil, err
	}
	var subjects []subject
	for _, name := range names {
		c, err := readSubject(filepath.Join(dir, name), name)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, c)
	}
	if len(subjects) == 0 {
		return nil, fmt.Errorf("%s holds no adapter: none of its folders has %s", dir, adapterConfig)
	}
	slices.SortStableFunc(subjects, func(a, b subject) int { return a.step - b.step })
	return subjects, nil
}

func isAdapter(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, adapterConfig))
	return err == nil
}

// adaptersIn lists the adapters that are folders of dir, or folders of these.
func adaptersIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if isAdapter(filepath.Join(dir, e.Name())) {
			names = append(names, e.Name())
			continue
		}
		inside, _ := os.ReadDir(filepath.Join(dir, e.Name())) // a file holds none
		for _, i := range inside {
			if name := filepath.Join(e.Name(), i.Name()); isAdapter(filepath.Join(dir, name)) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

func readSubject(path, name string) (subject, error) {
	c := subject{name: name, path: path}
	if _, number, ok := strings.Cut(name, "checkpoint-"); ok {
		c.step, _ = strconv.Atoi(number)
	}
	var err error
	if c.info, err = chat.ReadInfo(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("%s has no %s: it does not say in which template it was trained; write one, as in {\"template\":\"behaviors\",\"answer_prefix\":true}", path, chat.InfoName)
		}
		return c, err
	}
	if c.digest, err = folderDigest(path); err != nil {
		return c, err
	}
	c.notFinite, err = hasNotFinite(filepath.Join(path, adapterWeights))
	return c, err
}

func folderDigest(path string) (string, error) {
	d, err := manifest.Folder(path)
	return d.String(), err
}

// hasNotFinite says whether a tensor holds a NaN or an infinity. Such an adapter is
// listed, and barred, rather than an error that would hide the others.
func hasNotFinite(path string) (bool, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for _, t := range f.Tensors() {
		values, err := f.Float32s(t.Name)
		if err != nil {
			return false, err
		}
		for _, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return true, nil
			}
		}
	}
	return false, nil
}
