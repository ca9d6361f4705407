# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""What tempest needs in the cloud, and what is left of it afterwards.

Runs with the Python of the all-in-one. `prepare` reads a list of images, each
a dict with name, file, container_format, disk_format and properties, from
standard input and prints the ids of images, flavors and the network `public`.
`sweep` removes what tempest and `prepare` have made, and prints what was left
of tempest's.
"""

import json
import sys
import time

import openstack

PREFIX = 'tempest-'
FLAVORS = (  # name and id, MB, GB
    ('tempest-aio-1', 256, 1),
    ('tempest-aio-2', 320, 2),
)
OURS = 'tempest-aio-'


def prepare(cloud):
    wanted = json.load(sys.stdin)
    for name, ram, disk in FLAVORS:
        if not cloud.compute.find_flavor(name):
            cloud.compute.create_flavor(id=name, name=name, vcpus=1, ram=ram,
                                        disk=disk)
    images = []
    for each in wanted:
        for old in list(cloud.image.images(name=each['name'])):
            cloud.image.delete_image(old)
        image = cloud.image.create_image(
            name=each['name'], filename=each['file'], wait=True,
            allow_duplicates=True, validate_checksum=False,
            container_format=each['container_format'],
            disk_format=each['disk_format'], visibility='public',
            **each['properties'])
        images.append(image.id)
    return {'images': images, 'flavors': [name for name, *_rest in FLAVORS],
            'public': cloud.network.find_network('public').id}


class Sweep:
    """Removes what belongs to tempest: its projects', or by name.

    :ivar left: list of what there was, in words
    """

    def __init__(self, cloud):
        self.cloud = cloud
        self.left = []
        self.projects = [p for p in cloud.identity.projects()
                         if p.name.startswith(PREFIX)]
        self.ids = {p.id for p in self.projects}

    def _is_left(self, thing):
        project = getattr(thing, 'project_id', None) or getattr(
            thing, 'owner_id', None)
        name = thing.name or ''
        if name.startswith(OURS):
            return False
        return project in self.ids or name.startswith(PREFIX)

    def each(self, what, things, delete):
        """Delete those of tempest's, and note them."""
        mine = [t for t in things if self._is_left(t)]
        for thing in mine:
            self.left.append(f'{what} {thing.name or thing.id}')
            try:
                delete(thing)
            except openstack.exceptions.SDKException as e:
                self.left.append(f'  and it cannot be deleted: {e}')
        return mine

    def run(self):
        cloud = self.cloud
        compute, network = cloud.compute, cloud.network
        volume, identity = cloud.block_storage, cloud.identity
        servers = self.each('server',
                            compute.servers(all_projects=True),
                            compute.delete_server)
        wait_gone(lambda: {s.id for s in compute.servers(
            all_projects=True)} & {s.id for s in servers})
        self.each('server group', compute.server_groups(all_projects=True),
                  compute.delete_server_group)
        self.each('aggregate', compute.aggregates(),
                  compute.delete_aggregate)
        self.each('keypair', compute.keypairs(), compute.delete_keypair)
        self.each('flavor', compute.flavors(get_extra_specs=False,
                                            is_public=None),
                  compute.delete_flavor)
        volumes = self.each('volume', volume.volumes(all_projects=True),
                            volume.delete_volume)
        wait_gone(lambda: {v.id for v in volume.volumes(
            all_projects=True)} & {v.id for v in volumes})
        self.each('image', cloud.image.images(), cloud.image.delete_image)
        self.each('floating IP', network.ips(), network.delete_ip)
        for router in [r for r in network.routers() if self._is_left(r)]:
            for port in network.ports(device_id=router.id):
                if port.device_owner != 'network:router_gateway':
                    network.remove_interface_from_router(
                        router, port_id=port.id)
        self.each('router', network.routers(), network.delete_router)
        self.each('port', (p for p in network.ports() if not
                           p.device_owner.startswith('network:')),
                  network.delete_port)
        self.each('network', network.networks(), network.delete_network)
        # Each project has one by that name without having made it.
        self.each('security group', (g for g in network.security_groups()
                                     if g.name != 'default'),
                  network.delete_security_group)
        for group in network.security_groups():
            if group.project_id in self.ids:
                network.delete_security_group(group)
        self.each('user', identity.users(), identity.delete_user)
        for project in self.projects:
            self.left.append(f'project {project.name}')
            identity.delete_project(project)
        # What `prepare` has made
        for flavor in list(compute.flavors(get_extra_specs=False,
                                           is_public=None)):
            if flavor.name.startswith(OURS):
                compute.delete_flavor(flavor)
        for image in list(cloud.image.images()):
            if image.name and image.name.startswith(OURS):
                cloud.image.delete_image(image)
        return self.left


def wait_gone(remaining, seconds=180):
    """Wait until a function returns nothing any more."""
    deadline = time.monotonic() + seconds
    while remaining():
        if time.monotonic() > deadline:
            sys.exit(f'still there: {sorted(remaining())}')
        time.sleep(1)


def main(command):
    cloud = openstack.connect(cloud='aio')
    result = (prepare(cloud) if command == 'prepare' else
              Sweep(cloud).run())
    json.dump(result, sys.stdout)


if __name__ == '__main__':
    main(*sys.argv[1:])
