# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Layers merged in memory, without a store."""

import contextlib
import tempfile

from nova_containervm.images import extract
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import merge
from nova_containervm.images import nodes
from nova_containervm.images import spool
from nova_containervm.images import stream
from nova_containervm.images import tarread


@contextlib.contextmanager
def merged(layers, limits=None, form=None):
    """Yield (root, descriptors of the contents) of layers, lowest first.

    :param form: says instead of forms.Passthrough what device 0:0 means
    """
    limits = limits or limits_mod.Limits()
    with contextlib.ExitStack() as stack:
        spools, loaded = [], []
        for number, data in enumerate(layers):
            out = stack.enter_context(tempfile.TemporaryFile())
            index = stack.enter_context(tempfile.TemporaryFile())
            spools.append(out.fileno())
            tree = spool.SpoolTree(out.fileno(), limits)
            tree.form = form or tree.form
            facts = extract.Extractor(tree, limits).run(
                tarread.TarReader(stream.Reader([data])))
            nodes.dump(tree.root, index)
            index.seek(0)
            loaded.append((nodes.load(index, number), facts))
        yield merge.layers(loaded), spools


def manifest(layers):
    """What trees.nodes() says of layers."""
    from tests.unit.images import trees
    with merged(layers) as (root, spools):
        return trees.nodes(root, spools)


def node(**fields):
    """A file with these attributes."""
    made = nodes.Node(tarread.REG, 0o644)
    for name, value in fields.items():
        setattr(made, name, value)
    return made
